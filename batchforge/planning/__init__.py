"""Requests and memory -> what to send, why, and what it costs."""
