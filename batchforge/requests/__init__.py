"""Specs and rows -> validated requests, each named by its content."""
