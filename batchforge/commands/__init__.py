"""One thin file a command: read options, call the stage, hand the value to the report."""
