"""The engine: the one writer of a partition. Read `engine` first, then `decider`.

engine             the loop: stand by, take over, serve
decider            deciding commands: what an engine knows of them in memory before it is in the log
batch              what is appended together
runner             the start and the end of an engine
courier            with several partitions: cash that goes to and comes from others
command_source     where commands come from and replies go; a queue in this process
log                the log as the engine uses it, and its errors
postgres_log       the log in PostgreSQL
replica            the state of a partition in this process, and the files beside the log
replay             folding the log into that state
recorded_replies   the reply to every command that ever was, found again from the log
command_index      the position in the log of each command's first event
snapshots          the state at one position, in a file
"""
