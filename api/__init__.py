"""HTTP, the command line and the demo: everything that people and other programs call.

    http/           the HTTP API
    cli/            the command line `tidings`
    demo/           ten weeks of trading on a real story
    child_process   another command as a child
    processes       the whole exchange, or its HTTP server or projector alone
    stop_signals    waiting for the signals that end them
    client          a small HTTP client, for the command line and the demo
    database        the PostgreSQL database that the settings name
    key_store       API keys
    lag             how far the read models are behind the log
    logs            the form of log lines

Imports go one way: `cli -> demo -> processes -> http`, and from all of these to the small files.
"""
