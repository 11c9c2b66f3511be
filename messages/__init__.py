"""The JSON of commands, events and replies: what goes over a wire or into the log, and back."""
