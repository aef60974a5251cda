"""Paradex perpetuals."""
