"""The command line `tidings`, one file a group of commands."""
