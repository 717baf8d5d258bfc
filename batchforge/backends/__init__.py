"""How requests reach Claude: one module a way. The only place that imports the `anthropic` SDK."""
