"""Any exchange of ccxt.pro by its unified API, for venues that have no adapter of their own."""
