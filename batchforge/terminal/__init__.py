"""Values -> what people and machines read: text, progress, problems, log lines."""
