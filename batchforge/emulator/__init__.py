"""A stand-in HTTP server for Claude's Messages and Message Batches API."""
