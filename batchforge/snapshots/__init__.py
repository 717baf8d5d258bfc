"""Rows that live in databases and object stores -> hashed local copies, which alone are read offline."""
