"""One request to a webhook: signed as https://www.standardwebhooks.com says, bounded in time and in bytes.

A receiver answers with a status of 2xx. Redirects are not followed, and the environment's proxies are not used: both would
connect to an address that nobody checked.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx
from standardwebhooks import Webhook as Signer

from consumers.webhooks.addresses import AddressRefused, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumers.webhooks.deliveries import WebhookDelivery

REQUEST_SECONDS: Final = 10.0
"""The longest time of a request, from the look-up of the name to the end of the answer."""

ANSWER_BYTES: Final = 16 * 1024
"""The most bytes that are read of an answer. A longer one counts, but its connection is closed."""

RETRY_AFTER_MAX: Final = 3_600
"""The longest pause, in seconds, that a receiver may ask for."""

AT_ONCE: Final = 8
"""The most requests to one webhook at a time, each about another market."""


class Failure(NamedTuple):
    """Why a delivery failed; the status of the answer, 0 without one; the pause in seconds that the receiver asked for."""

    error: str
    status: int = 0
    retry_after: int = 0


class Sender:
    """The requests to one webhook. It belongs to one event loop."""

    def __init__(self, url: str, *, private: bool) -> None:
        self._url = httpx.URL(url)
        self._private = private
        # One client for one URL: a connection is made for one host, and clients keep them by address.
        self._client = httpx.AsyncClient(
            timeout=REQUEST_SECONDS,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=AT_ONCE),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def send(
        self, deliveries: Sequence[tuple[str, WebhookDelivery]], secrets: Sequence[str]
    ) -> tuple[set[str], Failure | None]:
        """Send deliveries, each with its id; return the ids of those that arrived, and the first failure.

        Those of one market go one after another, and none after one that failed. Nothing more is sent to a receiver that
        does not answer.
        """
        by_market: dict[str, list[tuple[str, WebhookDelivery]]] = {}
        for name, delivery in deliveries:
            by_market.setdefault(delivery.market_id, []).append((name, delivery))
        arrived: set[str] = set()
        failures: list[Failure] = []
        limit = asyncio.Semaphore(AT_ONCE)

        async def send_all(of_market: list[tuple[str, WebhookDelivery]]) -> None:
            for name, delivery in of_market:
                async with limit:
                    if any(each.status == 0 for each in failures):
                        return
                    failure = await self.send_one(name, delivery.body, secrets)
                if failure is not None:
                    failures.append(failure)
                    return
                arrived.add(name)

        await asyncio.gather(*map(send_all, by_market.values()))
        return arrived, failures[0] if failures else None

    async def send_one(self, name: str, body: bytes, secrets: Sequence[str]) -> Failure | None:
        """Send a body with this id, within `REQUEST_SECONDS`; return why it failed, None if it arrived."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self._post(body, headers_of(name, body, secrets))
        except TimeoutError:
            return Failure(f"no answer within {REQUEST_SECONDS:.0f} s")
        except (AddressRefused, OSError, httpx.HTTPError) as error:
            return Failure(str(error) or type(error).__name__)

    async def _post(self, body: bytes, headers: dict[str, str]) -> Failure | None:
        url = self._url
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await resolve(url.host, port, private=self._private)
        request = self._client.build_request(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers=headers | {"host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.raw_host.decode("ascii")},  # the certificate must be that of the name
        )
        response = await self._client.send(request, stream=True)
        try:
            read = 0
            async for part in response.aiter_raw():
                read += len(part)
                if read > ANSWER_BYTES:
                    break
        finally:
            await response.aclose()
        if response.is_success:
            return None
        after = response.headers.get("retry-after", "")
        pause = min(int(after), RETRY_AFTER_MAX) if after.isascii() and after.isdigit() and len(after) < 10 else 0
        return Failure(f"the receiver answered {response.status_code}", response.status_code, pause)


def headers_of(name: str, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of a delivery: its id, the time of this attempt, and a signature with each secret."""
    now = datetime.now(UTC)
    signatures = [Signer(secret).sign(name, now, body.decode()) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "tidings-webhooks",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
