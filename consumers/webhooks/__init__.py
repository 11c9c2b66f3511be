"""Webhooks: sends what operators asked for to their URLs, signed, in order for a market, at least once.

`webhooks` runs a `worker` for each webhook; `shared` has the threads, the connections and the reader of the log of them all.
A worker makes `deliveries`, and has the `sender` send them to `addresses` that are allowed; the `store` knows how far each
webhook is.
"""
