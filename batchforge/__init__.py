"""BatchForge: declarative, incremental, exactly-once runs of Claude's Message Batches API."""
