"""Folds the log into read models without knowing any: tables, rows in memory, batches, transactions. See README.md."""
