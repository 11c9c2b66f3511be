"""The HTTP API: the application, and what all routes share."""
