"""Plans -> batches, single requests and stored results, exactly once."""
