"""A run from its first look at the state to its outputs: options, compiling, sending, delivering, the record."""
