"""Memory: records, the life of an attempt, claims. `StateReader` decides, `StateStore` does; one module a store."""
