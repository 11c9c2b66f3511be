"""Exports: the log and the read models at one position, as files that need no server. See docs/analysis.md."""
