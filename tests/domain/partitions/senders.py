"""A gateway reduced to what matters here: it sends commands until they have an outcome, and fetches funds that they lack."""

from dataclasses import dataclass, field
from typing import Final

from domain.commands import Command
from domain.money import MICRO, Credits
from domain.rejections import Code
from domain.transfers import TransferFunds
from tests.domain.partitions.protocol import PARTITIONS, Answer, Sent, World

ATTEMPTS: Final = 3
SHARES: Final = (MICRO // 50, MICRO // 10, MICRO // 4)
"""The shares of what is available that may be sent; the smaller, the more transfers."""


@dataclass(slots=True)
class Wish:
    """A command that somebody wants done, and how far it is. `asked` are the transfers under way, by the partition asked."""

    command_id: str
    account_id: str
    command: Command
    home: int
    partition: int
    attempt: int = 0
    asked: dict[str, Sent] = field(default_factory=dict)
    of: dict[str, int] = field(default_factory=dict)
    others_asked: bool = False
    something_sent: bool = False
    missing: Credits = 0
    last: bool = False
    outcome: Answer | None = None


class Gateway:
    """Sends each wish, again and again, until it has its outcome."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.share = world.random.choice(SHARES)
        self.wishes: dict[str, Wish] = {}
        self.owner: dict[str, Wish] = {}

    def wish(self, command_id: str, account_id: str, command: Command, home: int, partition: int) -> None:
        """Take up a command."""
        self.wishes[command_id] = Wish(command_id, account_id, command, home, partition)

    def is_done(self) -> bool:
        """Return whether every wish has its outcome."""
        return all(wish.outcome is not None for wish in self.wishes.values())

    def step(self) -> None:
        """Read the replies, and send something that has none."""
        for answer in self.world.answers:
            self._read(answer)
        self.world.answers.clear()
        pending = [wish for wish in self.wishes.values() if wish.outcome is None]
        if pending:
            wish = self.world.random.choice(pending)
            if self.world.random.random() < self.world.faults / 5:
                self._forget(wish)
            self._send(wish)

    def _forget(self, wish: Wish) -> None:
        """Another gateway goes on, which knows nothing but the command."""
        wish.attempt, wish.others_asked, wish.something_sent, wish.last = 0, False, False, False
        wish.asked.clear()

    def _send(self, wish: Wish) -> None:
        if wish.asked:
            for command_id, sent in wish.asked.items():
                self.world.commands[wish.of[command_id]].append(sent)
        else:
            sent = Sent(wish.command_id, wish.command, top_up=not wish.last)
            self.world.commands[wish.partition].append(sent)

    def _read(self, answer: Answer) -> None:
        wish = self.wishes.get(answer.command_id)
        if wish is None:
            self._read_transfer(answer)
        elif answer.refusal != Code.FUNDS_NEEDED:
            assert wish.outcome is None or wish.outcome == answer, "a command has one outcome"
            wish.outcome = answer
        elif not wish.asked and wish.outcome is None and not wish.last:
            required, available = answer.details["required"], answer.details["available"]
            assert isinstance(required, int)
            assert isinstance(available, int)
            wish.missing = required - available
            wish.attempt += 1
            wish.others_asked = wish.something_sent = False
            if wish.attempt > ATTEMPTS:
                wish.last = True
            elif wish.home == wish.partition:
                self._ask_others(wish)
            else:
                self._ask(wish, wish.home)

    def _ask(self, wish: Wish, partition: int) -> None:
        keeps_id = self.world.follows("a command keeps its id")
        command_id = f"topup:{wish.command_id}:{wish.attempt}:{partition}"
        transfer = TransferFunds(wish.account_id, wish.partition, wish.missing, at_least=1, share=self.share)
        then = Sent(wish.command_id if keeps_id else f"then:{wish.command_id}", wish.command, top_up=True)
        wish.asked[command_id] = Sent(command_id, transfer, then=then)
        wish.of[command_id] = partition
        self.owner[command_id] = wish

    def _ask_others(self, wish: Wish) -> None:
        wish.others_asked = True
        for partition in range(PARTITIONS):
            if partition not in {wish.home, wish.partition}:
                self._ask(wish, partition)

    def _read_transfer(self, answer: Answer) -> None:
        wish = self.owner.get(answer.command_id)
        if wish is None or answer.command_id not in wish.asked:
            return
        del wish.asked[answer.command_id]
        if answer.refusal in {None, Code.COMMAND_ID_REUSED}:  # or one with this id was sent before
            wish.something_sent = True
        if wish.asked or wish.something_sent:
            return
        if wish.others_asked:
            wish.last = True
        else:
            self._ask_others(wish)
            wish.last = not wish.asked
