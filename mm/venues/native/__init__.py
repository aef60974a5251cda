"""The local exchange's native face as a venue."""
