"""Reading several partitions as one exchange: a cut through the read models of all, and what is summed and merged over it."""
