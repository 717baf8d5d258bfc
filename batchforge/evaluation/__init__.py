"""Judging answers: whether one set of them is better than another, and how sure that is."""
