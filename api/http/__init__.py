"""The HTTP API.

    app             the application, made from its dependencies; `server` serves it
    routes/         one file a subject; `order_entry` is the fast path of orders
    context         what a route gets: dependencies, who asks, the account or market in the path
    auth            from the key to a principal and its roles
    references      from an id, slug or name to the id
    query           refuses parameters that a route does not know
    reads           the steps of every read, with `cursors` for its pages and `serializers` for its rows
    caching         tags of answers, and the answers that are kept; `labels` are the slugs and names that are
    log_reads       reads of the log itself, in few threads
    waits           requests that wait for read models
    openapi         what routes declare of their answers, with `schemas` made from the types of rows, `answers` and
                    `resources` for all other answers, `refusals` for the codes of each command
    reference       the page /docs
    writes          the steps of every write, with `bodies` and `fields` for its JSON
    errors          every error code, and the answers made from them
    middleware      what surrounds every request; `request_log` is its log line
    encoded_slashes lets names have slashes

The routes use all of this; of these files only `app` knows the routes.
"""
