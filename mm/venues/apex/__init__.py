"""ApeX Omni perpetuals."""
