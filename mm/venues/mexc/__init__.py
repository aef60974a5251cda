"""MEXC spot."""
