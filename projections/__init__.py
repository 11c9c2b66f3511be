"""Read models: each is a file (or folder) with its row types, its tables, its fold over the log and its queries.

`registry` lists them. `machine` folds them, whatever they are; its README.md is what one has to know to read or write a fold.
`reading` gives readers one snapshot of several read models, `verify` compares them with the log, `dashboards` are the views
for SQL. `forms` are types of integers that say how the API writes them.
"""
