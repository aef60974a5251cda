"""Orders on paper over any venue's live market data; fills by the simulator's queue model."""
