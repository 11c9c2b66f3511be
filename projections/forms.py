"""Types of integers that the rows of read models add to those of domain/money.py: they say what an integer is.

The API writes each in its form. To the type checker and to tables all of them are plain integers.
"""

from typing import Annotated

Count = Annotated[int, "count"]
"""An integer that is written as a number: a count, a rank, a version, seconds, or a position of the log."""

CreditsSum = Annotated[int, "credits", "numeric"]
"""Credits summed over trades. Money that goes round can pass 64 bits, so the column is numeric."""

SharesSum = Annotated[int, "shares", "numeric"]
"""Shares summed over trades, or over the orders at one price. A bid at 0.001 is for a thousand times its cash: so they can pass
64 bits, too."""

Liquidity = Annotated[int, "liquidity", "numeric"]
"""The AMM's liquidity b in 1e-12 credits. It may pass 64 bits, so its column is numeric."""
