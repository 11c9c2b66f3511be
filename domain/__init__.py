"""The rules of the exchange: pure, standard library only; no I/O, no clock, no random number."""
