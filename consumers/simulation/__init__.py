"""A seeded simulation of the exchange, and its random commands."""
