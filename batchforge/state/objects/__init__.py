"""State in an object store or a plain directory: a log of numbered segments, and an SQLite index made of them."""
