"""The operator: turns MemoryResource objects into configuration in the store, and keeps it there."""
