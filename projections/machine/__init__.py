"""What every read model stands on: tables, rows in memory, batches of the log, transactions. It knows no read model."""
