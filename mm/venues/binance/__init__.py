"""Binance USDⓈ-M perpetuals, the venue of recorded tapes."""
