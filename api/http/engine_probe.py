"""Whether an engine answers. Its quotes tell: they go the way of every command, and leave nothing behind."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

from consumers.errors import GatewayError
from domain.orders import PlaceOrder

if TYPE_CHECKING:
    from consumers.gateway import Gateway

ANSWER_SECONDS: Final = 3.0
"""The longest wait for an answer. A take-over by a standby takes less."""

KNOWN_SECONDS: Final = 1.0
"""The time for which an answer counts: however many ask, the engine is asked once a second."""

_ORDER: Final = PlaceOrder("ac_none", "mk_none", "", "readiness", "Yes", "buy", "market", spend=1_000_000)
"""An order in a market that is not there: its quote is a refusal, and so an answer."""


class EngineProbe:
    """Asks the engine of one app. It belongs to the app's event loop."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._answers = False
        self._known_until = 0.0
        self._is_asking = False

    async def answers(self) -> bool:
        """Return whether the engine has answered within the last second, or does so now.

        While it is being asked, others get the answer before.
        """
        if monotonic() >= self._known_until and not self._is_asking:
            self._is_asking = True
            try:
                self._answers = await self._ask()
                self._known_until = monotonic() + KNOWN_SECONDS
            finally:
                self._is_asking = False
        return self._answers

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._gateway.quote(_ORDER)
        except (TimeoutError, GatewayError):
            return False
        return True
