"""The rules of the exchange. They are pure: no I/O, no clock, no random numbers; the standard library and msgspec's structs."""
