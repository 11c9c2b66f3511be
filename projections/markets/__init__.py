"""The read model `markets`, and the price ticks that are read from its tables."""
