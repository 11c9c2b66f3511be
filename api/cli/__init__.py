"""The command line `tidings`: `main` puts the groups of commands together, each group has a file of its own."""
