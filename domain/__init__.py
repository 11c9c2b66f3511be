"""The rules of the exchange, pure: the standard library and, for values, structs; no I/O, no clock, no random number."""
