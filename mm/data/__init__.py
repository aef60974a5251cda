"""Tapes: the store, importers, synthetic flow."""
