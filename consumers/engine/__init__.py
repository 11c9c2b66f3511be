"""The engine: the one writer of a partition, its log, its commands, its files."""
