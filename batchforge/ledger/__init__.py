"""Stored results -> what they cost, added up and held against the vendor."""
