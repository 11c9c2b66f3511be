"""The read model `trades`: every fill, and how well accounts forecast."""
