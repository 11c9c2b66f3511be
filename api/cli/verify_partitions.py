"""`tidings verify` where the log has several partitions: each by itself, then the cash between them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from api.cli.command import DONE, NO
from api.cli.comparisons import print_result, result_json
from api.cli.opening import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.replay import History
    from projections.channels import ChannelComparison, ChannelEnds
    from projections.verify import Comparison
    from settings import Settings


def verify_partitions(settings: Settings, *, as_json: bool) -> int:
    """Compare every partition with its log, and both ends of every channel; print every difference with its kind.

    The ends of all logs are read twice: receipts count up to the first time, sendings up to the second. So the exchange may go
    on meanwhile.
    """
    from analysis.replay import history_of_log
    from api.database import with_database
    from projections.channels import ChannelEnds

    with ExitStack() as stack:
        settings = with_database(settings, stack)
        each = [settings.model_copy(update={"partition": partition}) for partition in range(settings.partitions)]
        histories = [history_of_log(stack.enter_context(opened(own)).log) for own in each]
        received_until = [history.end() for history in histories]
        heads = [history.end() for history in histories]
        ends = ChannelEnds()
        results: list[dict[str, Any]] = []
        for partition, history in enumerate(histories):
            if not as_json:
                print(f"partition {partition}", flush=True)
            until = received_until[partition], heads[partition]
            for result in _compared(each[partition], history, until, ends):
                results.append({"partition": partition, **result_json(result)})
                if not as_json:
                    print_result(result)
    channels = [_channel_json(channel) for channel in ends.compared()]
    equal = not any(found["differences"] for found in (*results, *channels))
    if as_json:
        print(json.dumps({"equal": equal, "compared": results, "channels": channels}, default=str))
    else:
        _print_channels(channels)
        if equal:
            print("everything agrees with the logs of all partitions")
    return DONE if equal else NO


def _compared(settings: Settings, history: History, until: tuple[int, int], ends: ChannelEnds) -> Iterator[Comparison]:
    """Compare the partition of these settings: its ledger, with the transfers noted, and its read models."""
    from api.database import dsn_of
    from projections.machine.store import schema_of
    from projections.registry import EVERY
    from projections.verify import Comparison, ledger_differences, verify

    partition, (received_until, head) = settings.partition, until
    if head:
        events = ends.noting(partition, history.events(until=head), received_until)
        yield Comparison("ledger", head, list(ledger_differences(events, partition, settings.partitions)))
    yield from verify(dsn_of(settings), schema_of(partition), EVERY.values(), history.batches)


def _channel_json(channel: ChannelComparison) -> dict[str, Any]:
    """Return a channel in JSON's types; `difference` is the first one, or null."""
    from domain.money import format_decimal
    from messages.wire import format_time

    found = [{"kind": difference.kind, **difference.details} for difference in channel.differences]
    return {
        "from": channel.from_partition,
        "to": channel.to_partition,
        "sent": channel.sent,
        "received": channel.received,
        "in_transit": format_decimal(channel.in_transit),
        "oldest": None if channel.oldest is None else format_time(channel.oldest),
        "difference": found[0] if found else None,
        "differences": found,
    }


def _print_channels(channels: list[dict[str, Any]]) -> None:
    """Print a line for each channel: what is in transit, or what is wrong."""
    for channel in channels:
        start = (
            f"channel {channel['from']} to {channel['to']}: {channel['sent']:,} sent, {channel['received']:,} received"
        )
        for difference in channel["differences"]:
            told = ", ".join(f"{name} {value}" for name, value in difference.items() if name != "kind")
            print(f"{start}, DIFFERS ({difference['kind']}): {told}")
        if not channel["differences"]:
            since = f", the oldest since {channel['oldest']}" if channel["oldest"] else ""
            print(f"{start}, {channel['in_transit']} in transit{since}")
