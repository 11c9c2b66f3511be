"""The stream of what happens: server-sent events, followed through every interruption, each message once.

`Follower` knows no network: it is told bytes, and says which messages are due and where to go on. A message is due when all
of its position has come, which its `id` says. So whoever is cut in the middle of a position gets all of it again, and
nothing twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from tidings_client.call import Call
from tidings_client.conversation import Retries, Session, pause_after_error, pause_after_loss
from tidings_client.errors import ConflictError, TidingsError

if TYPE_CHECKING:
    from collections.abc import Sequence


class StreamResetError(TidingsError):
    """The exchange has another log than before, or has lost the end of it: this stream cannot go on where it was."""


class Message(msgspec.Struct, frozen=True):
    """Something that happened. `channel` is `trades`, `prices`, `lifecycle`, `orders`, `events` or `progress`.

    `data` has the fields that docs/stream.md names, amounts and times as text. `id` is where to go on once this message is
    done: pass it as `after`. It is opaque.
    """

    channel: str
    data: dict[str, Any]
    id: str | None


class Follower:
    """Where one stream is, over all of its connections. `last_id` is the id of what was taken last."""

    def __init__(
        self,
        session: Session,
        channels: Sequence[str],
        markets: Sequence[str],
        after: str | int | None,
        *,
        conflate: bool,
    ) -> None:
        self.last_id = None if after is None else str(after)
        self._session = session
        self._retries: Retries | None = None
        self._query: dict[str, str | list[str]] = {"channels": ",".join(channels)}
        if markets:
            self._query["market"] = list(markets)
        if conflate:
            self._query["conflate"] = "true"
        self._pause = 0.0
        self._held: list[tuple[str, dict[str, Any]]] = []
        self._fields: dict[str, str] = {}
        self._rest = b""

    def request(self) -> httpx.Request:
        """Return the request that goes on behind the last message. What had not come whole is forgotten."""
        self._held.clear()
        self._fields.clear()
        self._rest = b""
        headers = {"accept": "text/event-stream", "accept-encoding": "identity"}
        if self.last_id is not None:
            headers["last-event-id"] = self.last_id
        return self._session.request(Call("GET", "/v1/stream", str, query=self._query, headers=headers))

    def accepts(self, response: httpx.Response) -> bool:
        """Return whether an answer is a stream."""
        kind = response.headers.get("content-type", "")
        return response.status_code == httpx.codes.OK and kind.startswith("text/event-stream")

    def pause(self, response: httpx.Response) -> float:
        """Return the seconds until the next attempt, after an answer that is no stream; raises its error if it is final."""
        try:
            return pause_after_error(self._session, self._attempts(), response)
        except ConflictError as error:
            raise StreamResetError(f"the exchange has another log than before: {error.message}") from error

    def pause_after_end(self, error: httpx.TransportError | None = None) -> float:
        """Return the seconds until the next attempt, after a stream ended. Raises UnreachableError at the deadline."""
        return max(pause_after_loss(self._session, self._attempts(), error), self._pause)

    def take(self, chunk: bytes) -> list[Message]:
        """Take bytes of the stream and return the messages that are due. Raises StreamResetError."""
        *lines, self._rest = (self._rest + chunk).split(
            b"\n"
        )  # nothing else ends a line: texts have U+2028 and its like
        return [message for line in lines for message in self._take_line(line.removesuffix(b"\r").decode())]

    def _attempts(self) -> Retries:
        """Return the pauses since the stream was lost: its hello ends them."""
        if self._retries is None:
            self._retries = Retries(self._session.retry_seconds)
        return self._retries

    def _take_line(self, line: str) -> list[Message]:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "retry" and value.isdecimal():
            self._pause = int(value) / 1000
        self._fields[name] = f"{self._fields[name]}\n{value}" if name == "data" and name in self._fields else value
        return []

    def _dispatch(self) -> list[Message]:
        """Take the event that a blank line ends."""
        fields, self._fields = self._fields, {}
        event, moved = fields.get("event", "message"), fields.get("id")
        if event == "reset":
            raise StreamResetError(f"the exchange has another log, or has lost the end of it: {fields.get('data')}")
        if event == "hello":
            self._session.has_answered = True
            self._retries = None
            self._query["log"] = msgspec.json.decode(fields["data"], type=dict[str, Any]).get("log") or ""
        elif event == "progress":  # of no position: nothing that comes later completes it
            return [Message(event, msgspec.json.decode(fields["data"], type=dict[str, Any]), self.last_id)]
        elif "data" in fields and event not in {"beat", "bye"}:
            self._held.append((event, msgspec.json.decode(fields["data"], type=dict[str, Any])))
        if moved is None:
            return []
        before, self.last_id = self.last_id, moved
        held, self._held = self._held, []
        return [
            Message(channel, data, moved if number == len(held) else before)
            for number, (channel, data) in enumerate(held, 1)
        ]
