"""Tests of outputs: what is asked of a table of answers, how it is found out, and what came of it."""
