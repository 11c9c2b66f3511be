"""The stream: what the log gets, as it gets it, over server-sent events and WebSocket (docs/stream.md).

frames          the messages of one event, encoded once for all subscribers
tailer          the thread that follows the log and makes frames
ring            the last of them, in memory
subscriber      one reader: what it wants, what waits for it, where it is
replay          reads for subscribers that are older than the ring
hub             one a process: brings frames to subscribers
requests        what a client asks for, and whether it may have it
sse, ws         the two transports
metrics         their figures
"""
