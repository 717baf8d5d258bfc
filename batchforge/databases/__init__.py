"""Databases: rows out by one SELECT in a read-only transaction, rows in by one transaction. A module a driver."""
