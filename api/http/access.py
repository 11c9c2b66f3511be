"""Who may use which operation of the API: one rule for each, as a matrix of operations and roles.

The dependencies of the routes enforce these rules. The OpenAPI document takes from here which operations need a key, and
`python -m api.http.access` prints the matrix for `docs/security.md`. Tests compare both with the code, and try every cell.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from api.key_store import ROLES, Role

Caller = Literal["none"] | Role
"""A role, or `none` without a key."""

CALLERS: Final[tuple[Caller, ...]] = ("none", *ROLES)


class Rule(NamedTuple):
    """Who may use an operation: `any_account` whatever account it names, `own_account` for the account of the key only."""

    any_account: frozenset[Caller]
    own_account: frozenset[Caller] = frozenset()

    def allows(self, caller: Caller, *, own: bool) -> bool:
        """Return whether a caller may use it, for its own account or for another one."""
        return caller in self.any_account or (own and caller in self.own_account)


PUBLIC: Final = Rule(frozenset(CALLERS))
"""Everybody; with `TIDINGS_PUBLIC_READS=false` every key."""

OPEN: Final = Rule(frozenset(CALLERS))
"""Everybody, whatever the settings say; to accept an invitation takes its code."""

ANY_KEY: Final = Rule(frozenset(ROLES))
PRIVATE: Final = Rule(frozenset({"analyst", "admin"}), frozenset({"trader", "reader"}))
"""What an account alone may see of itself; everybody with `TIDINGS_ACCOUNTS_PUBLIC=true`."""

ANALYSIS: Final = Rule(frozenset({"analyst", "admin"}))
"""What concerns all accounts together; everybody with `TIDINGS_ACCOUNTS_PUBLIC=true`."""

EXPORT: Final = Rule(frozenset({"analyst", "admin"}))
"""The whole log with the bodies of refused commands, whatever the settings say."""

ACTING: Final = Rule(frozenset({"admin"}), frozenset({"trader"}))
OPERATING: Final = Rule(frozenset({"operator"}))
ADMINISTRATION: Final = Rule(frozenset({"admin"}))

RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(["get_health", "get_readiness", "get_schemas"], OPEN),
    **dict.fromkeys(
        [
            "list_stories",
            "get_story",
            "list_markets",
            "get_market",
            "get_prices_history",
            "get_candlesticks",
            "list_prices_histories",
            "list_candlesticks",
            "list_books",
            "list_market_trades",
            "list_trades",
            "get_market_book",
            "list_market_holders",
            "list_market_events",
            "get_leaderboard",
            "get_calibration",
            "list_accounts",
            "get_account",
            "list_account_positions",
            "get_stream",
        ],
        PUBLIC,
    ),
    "accept_invitation": OPEN,
    **dict.fromkeys(["get_status", "get_metrics", "get_me"], ANY_KEY),
    **dict.fromkeys(
        [
            "get_portfolio",
            "list_account_orders",
            "list_orders",
            "get_order",
            "list_account_fills",
            "list_account_settlements",
            "list_account_ledger",
            "get_equity_history",
            "list_events",
        ],
        PRIVATE,
    ),
    "get_ledger": ANALYSIS,
    "get_export": EXPORT,
    **dict.fromkeys(
        [
            "place_order",
            "place_batch",
            "quote_order",
            "cancel_order",
            "cancel_orders",
            "amend_order",
            "split_sets",
            "merge_sets",
            "dispute_market",
            "withdraw",
            "create_key",
            "list_keys",
            "revoke_key",
        ],
        ACTING,
    ),
    **dict.fromkeys(
        [
            "publish_story",
            "open_market",
            "activate_market",
            "halt_market",
            "resume_market",
            "close_market",
            "clarify_market",
            "add_liquidity",
            "determine_market",
            "uphold_market",
            "finalize_market",
            "correct_market",
            "void_market",
            "create_webhook",
            "list_webhooks",
            "get_webhook",
            "ping_webhook",
            "remove_webhook",
            "rotate_webhook_secret",
            "enable_webhook",
        ],
        OPERATING,
    ),
    **dict.fromkeys(
        ["open_account", "deposit", "create_invitation", "list_invitations", "revoke_invitation"], ADMINISTRATION
    ),
}
"""The rule of each operation, by its id in the OpenAPI document."""


CHANNELS: Final[dict[str, Rule]] = {
    **dict.fromkeys(["trades", "prices", "lifecycle", "progress"], PUBLIC),
    "orders": Rule(frozenset(), frozenset({"trader", "reader"})),
    "events": ANALYSIS,
}
"""Who may have each channel of the stream, over `get_stream` and over `/v1/ws`. `orders` are those of the key's account."""


def needs_key(operation_id: str, *, public_reads: bool) -> bool:
    """Return whether an operation refuses whoever has no key."""
    rule = RULES[operation_id]
    return rule is not OPEN and (rule is not PUBLIC or not public_reads)


def table() -> str:
    """Return the matrix as a table in Markdown: `yes`, `own` for the account of the key only, or nothing."""
    rules = {f"`{operation_id}`": rule for operation_id, rule in RULES.items()}
    rules |= {f"`get_stream`, `/v1/ws`: channel `{channel}`": rule for channel, rule in CHANNELS.items()}
    lines = [f"| operation | {' | '.join(f'`{caller}`' for caller in CALLERS)} |", "|---|" + "---|" * len(CALLERS)]
    for name, rule in rules.items():
        cells = [
            "yes" if rule.allows(caller, own=False) else "own" if rule.allows(caller, own=True) else ""
            for caller in CALLERS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201  its whole purpose
