"""Read models: each file has one table, its fold of the log, its queries and its row type."""
