"""Reviewing a change: what two revisions of a project ask, what it costs, and how the answers differ."""
