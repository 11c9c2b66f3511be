"""Read models: each is one file with its tables, its fold over the log, its row types and its queries.

`registry` lists them, `table` and `workspace` are what a fold writes with, `store` keeps schemas and positions in
PostgreSQL, `reading` is for those who ask.
"""
