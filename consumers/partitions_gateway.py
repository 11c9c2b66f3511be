"""The way to the engines of several partitions: where a command goes, and how it gets the cash that it lacks there.

A command goes to the partition of its market or order, else to that of its story or account; new stories and accounts go where
partition 0 says. What spends cash is sent with `top_up`: if the account lacks funds in that partition, the command leaves
nothing, and cash is fetched from the account's home, then from all other partitions. Only when nobody sends anything more is
the command decided for good.

Whatever fails on the way, cash that was sent arrives and stays the account's, and the same command may be sent again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Final, Protocol

import msgspec

from consumers.errors import Busy, GatewayError
from domain.account import OpenAccount, WithdrawCash
from domain.assignments import AssignPartition
from domain.market import DisputeMarket
from domain.money import Credits, Fraction, Time, parse_decimal
from domain.orders import AmendOrder, CancelOrders, PlaceOrder, SplitSets
from domain.placement import partition_of
from domain.rejections import Code
from domain.story import PublishStory
from domain.transfers import TransferFunds
from messages.command_types import THEN_BYTES_MAX
from messages.commands import Command, InvalidCommand, QuoteOrder
from messages.ids import new_id
from messages.names import derived_slug
from messages.replies import Reply

ATTEMPTS: Final = 3
"""The most times that funds are fetched for one command: meanwhile they may be spent elsewhere."""

_SPENDING: Final = (PlaceOrder, AmendOrder, SplitSets, DisputeMarket, WithdrawCash)
"""The commands that may lack funds."""

Spending = PlaceOrder | AmendOrder | SplitSets | DisputeMarket | WithdrawCash

_NAMES: Final = ("story_id", "market_id", "order_id", "account_id")
"""The fields that say where a command belongs, the first one that it has."""


class Lane(Protocol):
    """The way to one partition's engine."""

    async def submit(
        self, command_id: str, command: Command, at: Time | None = None, *, top_up: bool = False, then: bytes = b""
    ) -> Reply:
        """Return the reply to the command, as `Gateway.submit`; `top_up` and `then` are those of its envelope."""

    async def carried(self, command_id: str, command: Command, at: Time | None = None) -> Reply:
        """Return the reply to a command that a transfer carries there; after a while send it, with `top_up`."""

    def envelope(self, command_id: str, command: Command, at: Time | None = None) -> bytes:
        """Return the JSON of the command for a transfer that carries it along: its reply comes to this lane."""


class PartitionsGateway:
    """Submits commands to several partitions. `top_up_share` is the share of a balance that is sent where more is needed.

    A larger share makes fewer transfers, a smaller one leaves more where it is.
    """

    def __init__(self, lanes: Sequence[Lane], top_up_share: Fraction) -> None:
        """Submit through these lanes, one a partition, which somebody else has opened and closes."""
        self._lanes = lanes
        self._share = top_up_share

    async def submit(
        self, command_id: str, command: Command, at: Time | None = None, *, partition: int | None = None
    ) -> Reply:
        """Return the reply to the command; raises as `Gateway.submit`.

        `partition` is the operator's wish for a new story or account, and where a transfer starts, by default at home.
        """
        if isinstance(command, CancelOrders) and command.market_id is None:
            return await self._cancel_everywhere(command_id, command, at)
        if isinstance(command, PublishStory | OpenAccount) and (partition or len(self._lanes) > 1):
            assigned = await self._assign(command_id, command, at, partition)
            if assigned.rejected:
                return msgspec.structs.replace(assigned, command_id=command_id)
            return await self._lanes[assigned.result["partition"]].submit(command_id, command, at)
        if isinstance(command, _SPENDING):
            return await self._spend(command_id, command, at)
        place = self._place(partition_of_command(command))
        if isinstance(command, TransferFunds) and partition is not None:
            place = self._place(partition)
        return await self._lanes[place].submit(command_id, command, at)

    async def submit_all(
        self, commands: Sequence[tuple[str, Command]], at: Time | None = None
    ) -> list[Reply | InvalidCommand | GatewayError]:
        """Return for each command its reply, or the error that `submit` would raise.

        Those of one partition are sent in their order. One that waits for funds may be decided after those behind it.
        """
        found = await asyncio.gather(
            *[self.submit(command_id, command, at) for command_id, command in commands], return_exceptions=True
        )
        for each in found:
            if not isinstance(each, Reply | InvalidCommand | GatewayError):
                raise each
        return found  # type: ignore[return-value]  # seen above

    def _place(self, partition: int) -> int:
        """Return the partition, or 0 where there is none with this number: it answers for ids that nothing has."""
        return partition if partition < len(self._lanes) else 0

    # --- where stories and accounts are made, and what is everywhere

    async def _assign(
        self, command_id: str, command: PublishStory | OpenAccount, at: Time | None, wish: int | None
    ) -> Reply:
        question = (
            AssignPartition("account", command.name, wish)
            if isinstance(command, OpenAccount)
            else AssignPartition("story", command.slug or _derived(command_id, command), wish)
        )
        return await self._lanes[0].submit(f"assign:{_hash(command_id)}", question, at)

    async def _cancel_everywhere(self, command_id: str, command: CancelOrders, at: Time | None) -> Reply:
        """Return one reply to the same command in each partition: all that was canceled, or a refusal."""
        home = self._place(partition_of(command.account_id))
        replies = await asyncio.gather(*[lane.submit(command_id, command, at) for lane in self._lanes])
        if refused := [reply for reply in replies if reply.rejected]:
            return refused[0]
        canceled = [order for reply in replies for order in reply.result["canceled"]]
        return msgspec.structs.replace(replies[home], result={"canceled": canceled})

    # --- funds

    async def _spend(self, command_id: str, command: Spending, at: Time | None) -> Reply:
        lane = self._lanes[place := self._place(partition_of_command(command))]
        reply = await lane.submit(command_id, command, at, top_up=True)
        for attempt in range(1, ATTEMPTS + 1):
            if reply.code != Code.FUNDS_NEEDED:
                return reply
            fetched = await self._fetch(command_id, command, at, attempt, place, _missing(reply))
            if fetched is None:
                break
            reply = fetched
        while True:  # another caller may wait for the same command with `top_up`, and share its reply
            reply = await lane.submit(command_id, command, at)
            if reply.code != Code.FUNDS_NEEDED:
                return reply

    async def _fetch(  # noqa: PLR0917  the command, and what it lacks where
        self, command_id: str, command: Spending, at: Time | None, attempt: int, place: int, missing: Credits
    ) -> Reply | None:
        """Fetch funds from home, then from everywhere else, and return the command's reply; None if nobody sends any."""
        home = self._place(partition_of(command.account_id))
        others = [each for each in range(len(self._lanes)) if each not in {home, place}]
        needed: Reply | None = None
        for sources, share in (([home] if home != place else [], self._share), (others, 0)):
            transfer = TransferFunds(command.account_id, place, missing, at_least=1, share=share)
            reply = await self._carry(sources, transfer, (command_id, command), at, attempt) if sources else None
            if reply is not None and reply.code != Code.FUNDS_NEEDED:
                return reply
            if reply is not None:
                needed, missing = reply, _missing(reply)
        return needed

    async def _carry(
        self,
        sources: Sequence[int],
        transfer: TransferFunds,
        carried: tuple[str, Spending],
        at: Time | None,
        attempt: int,
    ) -> Reply | None:
        """Have partitions send funds and the command with them; return its reply, None if none of them sends anything."""
        lane, transfer_id = self._lanes[transfer.to_partition], f"topup:{_hash(carried[0])}:{attempt}"
        then = lane.envelope(*carried, at)
        if len(then) > THEN_BYTES_MAX:
            then = b""  # it is sent when it has waited for a while
        waiting = asyncio.ensure_future(lane.carried(*carried, at))
        try:
            replies = await asyncio.gather(
                *[self._lanes[each].submit(transfer_id, transfer, at, then=then) for each in sources]
            )
            sent = [reply for reply in replies if reply.code in {None, Code.COMMAND_ID_REUSED}]
            if not sent:
                if any(reply.code == Code.BUSY for reply in replies):
                    raise Busy("too many transfers wait to be carried")
                return None
            reply = await waiting
            for _ in sent[1:]:  # each brings the command, and less than what is missing
                if reply.code != Code.FUNDS_NEEDED:
                    break
                reply = await lane.carried(*carried, at)
            return reply
        finally:
            waiting.cancel()
            with suppress(asyncio.CancelledError, GatewayError):
                await waiting


def partition_of_command(command: Command) -> int:
    """Return the partition that decides a command; 0 for what names nothing. Of a transfer, the account's home."""
    if isinstance(command, QuoteOrder):
        command = command.order
    return next((partition_of(value) for name in _NAMES if (value := getattr(command, name, None))), 0)


def _missing(reply: Reply) -> Credits:
    return parse_decimal(str(reply.details["required"])) - parse_decimal(str(reply.details["available"]))


def _derived(command_id: str, command: PublishStory) -> str:
    return derived_slug(command.title, "story", new_id("st", command_id))


def _hash(command_id: str) -> str:
    return blake2b(command_id.encode(), digest_size=13).hexdigest()
