"""Rooms of the pipeline: what a runner says, what a forge's API does, what a step leaves behind."""
