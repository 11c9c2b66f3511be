"""Tools for analysts: the history of an exchange in Python, and what would have been under other terms."""
