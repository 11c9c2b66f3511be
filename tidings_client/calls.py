"""All calls of the API, made from its document by `python -m api.http.client_code`. Do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tidings_client.call import Amount, Call, When, call, new_id, paged, request
from tidings_client.models import *  # noqa: F403
from tidings_client.pages import Page, Reading


class Calls:
    """A method for each operation of the API; `Client` returns the answers, `AsyncClient` awaits them."""

    @call
    def publish_story(
        self,
        *,
        title: str,
        body: str,
        category: str,
        published_at: When,
        source_url: str | None = None,
        slug: str | None = None,
        markets: Sequence[OpenMarket] | None = None,
        idempotency_key: str | None = None,
        at: When | None = None,
    ) -> Call[WrittenStoryWithMarkets]:
        """Publish a story with its markets."""
        return request(
            "POST",
            "/v1/stories",
            WrittenStoryWithMarkets,
            statuses=(201,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={
                "title": title,
                "body": body,
                "category": category,
                "published_at": published_at,
                "source_url": source_url,
                "slug": slug,
                "markets": markets,
            },
            writes=True,
        )

    @paged
    def list_stories(
        self,
        *,
        q: str | None = None,
        category: str | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[Story]]:
        """Stories, newest first, without their markets.

        `q` finds them by the words of their titles and texts.
        """
        return request(
            "GET",
            "/v1/stories",
            Page[Story],
            statuses=(200,),
            waits=True,
            query={
                "q": q,
                "category": category,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def get_story(
        self,
        story: str,
        *,
        page_size: int | None = None,
        cursor: str | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Reading[StoryWithMarkets]]:
        """A story with its markets and their odds, in the order of their opening; `limit` and `cursor` are about the
        markets.
        """
        return request(
            "GET",
            "/v1/stories/{}",
            Reading[StoryWithMarkets],
            story,
            statuses=(200,),
            waits=True,
            query={
                "limit": page_size,
                "cursor": cursor,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def open_market(
        self,
        story: str,
        *,
        question: str,
        outcomes: Sequence[str],
        subsidy: Amount,
        close_time: When,
        resolution_source: str,
        slug: str | None = None,
        initial_prices: Sequence[Amount] | None = None,
        fee_rate: Amount | None = None,
        dispute_seconds: int | None = None,
        dispute_bond: Amount | None = None,
        draft: bool | None = None,
        idempotency_key: str | None = None,
        at: When | None = None,
    ) -> Call[WrittenMarketWithWordings]:
        """Open a market on a story: active at once, unless `draft`."""
        return request(
            "POST",
            "/v1/stories/{}/markets",
            WrittenMarketWithWordings,
            story,
            statuses=(201,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={
                "slug": slug,
                "question": question,
                "outcomes": outcomes,
                "initial_prices": initial_prices,
                "subsidy": subsidy,
                "fee_rate": fee_rate,
                "close_time": close_time,
                "resolution_source": resolution_source,
                "dispute_seconds": dispute_seconds,
                "dispute_bond": dispute_bond,
                "draft": draft,
            },
            writes=True,
        )

    @call
    def activate_market(
        self, market: str, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenMarketWithWordings]:
        """Open a draft for trading."""
        return request(
            "POST",
            "/v1/markets/{}/activate",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={},
            writes=True,
        )

    @call
    def halt_market(
        self, market: str, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenMarketWithWordings]:
        """Stop trading for a while; resting orders stay."""
        return request(
            "POST",
            "/v1/markets/{}/halt",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={},
            writes=True,
        )

    @call
    def resume_market(
        self, market: str, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenMarketWithWordings]:
        """Let a halted market trade again."""
        return request(
            "POST",
            "/v1/markets/{}/resume",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={},
            writes=True,
        )

    @call
    def close_market(
        self, market: str, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenMarketWithWordings]:
        """End trading for good; resting orders are canceled."""
        return request(
            "POST",
            "/v1/markets/{}/close",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={},
            writes=True,
        )

    @call
    def clarify_market(
        self, market: str, resolution_source: str, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenMarketWithWordings]:
        """Give the resolution source a new wording, as a new version."""
        return request(
            "POST",
            "/v1/markets/{}/clarify",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"resolution_source": resolution_source},
            writes=True,
        )

    @call
    def add_liquidity(
        self, market: str, amount: Amount, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenMarketWithWordings]:
        """Move more subsidy from the house to the AMM; prices stay."""
        return request(
            "POST",
            "/v1/markets/{}/add-liquidity",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"amount": amount},
            writes=True,
        )

    @call
    def determine_market(
        self,
        market: str,
        *,
        payouts: Mapping[str, Amount],
        evidence: Evidence | str,
        idempotency_key: str | None = None,
        at: When | None = None,
    ) -> Call[WrittenMarketWithWordings]:
        """Set the payouts of a closed market, or amend them while it is disputed; the dispute window begins."""
        return request(
            "POST",
            "/v1/markets/{}/determine",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"payouts": payouts, "evidence": evidence},
            writes=True,
        )

    @call
    def dispute_market(
        self,
        market: str,
        reason: str,
        *,
        bond: Amount | None = None,
        account: str | None = None,
        idempotency_key: str | None = None,
        at: When | None = None,
    ) -> Call[WrittenMarketWithWordings]:
        """Contest a determination within its window, posting a bond.

        The smallest bond is the market's `next_dispute_bond`. It begins with `dispute_bond`, and doubles with each
        dispute.
        """
        return request(
            "POST",
            "/v1/markets/{}/dispute",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"reason": reason, "bond": bond, "account": account},
            writes=True,
        )

    @call
    def uphold_market(
        self, market: str, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenMarketWithWordings]:
        """Keep a disputed determination; the bond goes to the house, and a new window begins."""
        return request(
            "POST",
            "/v1/markets/{}/uphold",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={},
            writes=True,
        )

    @call
    def finalize_market(
        self, market: str, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenMarketWithWordings]:
        """Pay out a determined market whose dispute window is over."""
        return request(
            "POST",
            "/v1/markets/{}/finalize",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={},
            writes=True,
        )

    @call
    def correct_market(
        self,
        market: str,
        *,
        payouts: Mapping[str, Amount],
        evidence: Evidence | str,
        idempotency_key: str | None = None,
        at: When | None = None,
    ) -> Call[WrittenMarketWithWordings]:
        """Replace the payouts of a finalized market: the old ones are reversed exactly, the new ones paid."""
        return request(
            "POST",
            "/v1/markets/{}/correct",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"payouts": payouts, "evidence": evidence},
            writes=True,
        )

    @call
    def void_market(
        self, market: str, *, reason: str | None = None, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenMarketWithWordings]:
        """Undo every cash movement of the market."""
        return request(
            "POST",
            "/v1/markets/{}/void",
            WrittenMarketWithWordings,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"reason": reason},
            writes=True,
        )

    @call
    def split_sets(
        self,
        market: str,
        amount: Amount,
        *,
        account: str | None = None,
        idempotency_key: str | None = None,
        at: When | None = None,
    ) -> Call[WrittenSetsAnswer]:
        """Turn credits into the same number of shares of every outcome."""
        return request(
            "POST",
            "/v1/markets/{}/split",
            WrittenSetsAnswer,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"amount": amount, "account": account},
            writes=True,
        )

    @call
    def merge_sets(
        self,
        market: str,
        amount: Amount,
        *,
        account: str | None = None,
        idempotency_key: str | None = None,
        at: When | None = None,
    ) -> Call[WrittenSetsAnswer]:
        """Turn the same number of shares of every outcome into credits."""
        return request(
            "POST",
            "/v1/markets/{}/merge",
            WrittenSetsAnswer,
            market,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"amount": amount, "account": account},
            writes=True,
        )

    @paged
    def list_markets(
        self,
        *,
        q: str | None = None,
        status: str | None = None,
        story: str | None = None,
        category: str | None = None,
        ids: str | None = None,
        closes_before: str | None = None,
        sort: Literal["newest", "volume", "closing", "movement", "relevance"] | None = None,
        with_: Literal["sparkline"] | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[ListedMarket]]:
        """Markets.

        `odds` are the prices, and once a market is finalized its payouts, beside its `last_prices`. `q` finds markets
        by the words of their questions, outcomes and resolution texts, and of the titles and texts of their stories.
        `open_interest` is the most that a market may have to pay; `trades` counts fills.
        """
        return request(
            "GET",
            "/v1/markets",
            Page[ListedMarket],
            statuses=(200,),
            waits=True,
            query={
                "q": q,
                "status": status,
                "story": story,
                "category": category,
                "ids": ids,
                "closes_before": closes_before,
                "sort": sort,
                "with": with_,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def get_market(
        self,
        market: str,
        *,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Reading[MarketWithWordings]]:
        """A market: odds, volume, open interest, status, and all wordings of its resolution source.

        `odds` are the prices, and once the market is finalized its payouts, beside its `last_prices`. `open_interest`
        is the most that it may have to pay: the shares of the outcome of which accounts hold most. `trades` counts
        fills.
        """
        return request(
            "GET",
            "/v1/markets/{}",
            Reading[MarketWithWordings],
            market,
            statuses=(200,),
            waits=True,
            query={"min_position": min_position, "wait_ms": wait_ms, "as_of_position": as_of_position, "as_of": as_of},
        )

    @call
    def get_prices_history(
        self,
        market: str,
        *,
        outcome: str | None = None,
        interval: Literal["1h", "6h", "1d", "1w", "max"] | None = None,
        fidelity: int | None = None,
        start: str | None = None,
        end: str | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Reading[PriceHistoryPage]]:
        """Prices over time, oldest first; every tick is kept for ever.

        With `outcome`, `data` is `{"outcome": ..., "history": [...]}`; without it, `{"histories": [...]}` has one of
        these for each outcome. A point `{"t": ..., "p": ..., "position": ...}` is the price from that position on.
        """
        return request(
            "GET",
            "/v1/markets/{}/prices-history",
            Reading[PriceHistoryPage],
            market,
            statuses=(200,),
            waits=True,
            query={
                "outcome": outcome,
                "interval": interval,
                "fidelity": fidelity,
                "start": start,
                "end": end,
                "limit": page_size,
                "cursor": cursor,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def get_candlesticks(
        self,
        market: str,
        *,
        outcome: str | None = None,
        period: Literal["1m", "5m", "1h", "1d"] | None = None,
        start: str | None = None,
        end: str | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[OutcomeCandle]]:
        """Candles, UTC-aligned, without gaps, oldest first; each names its outcome, and those of one period are
        together.

        They begin with the market's first price, whatever `start` is, and end with the last event. A period without a
        tick has no prices but `previous`. `trades` counts fills.
        """
        return request(
            "GET",
            "/v1/markets/{}/candlesticks",
            Page[OutcomeCandle],
            market,
            statuses=(200,),
            waits=True,
            query={
                "outcome": outcome,
                "period": period,
                "start": start,
                "end": end,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def list_market_trades(
        self,
        market: str,
        *,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[Trade]]:
        """Every fill of the market as a trade, newest first.

        `account_id`, `order_id` and their `resting_*` counterparts are null, except for the party itself, analysts
        and admins.
        """
        return request(
            "GET",
            "/v1/markets/{}/trades",
            Page[Trade],
            market,
            statuses=(200,),
            waits=True,
            query={
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def get_market_book(
        self,
        market: str,
        *,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[OutcomeBook]]:
        """For each outcome, the AMM's price and the resting orders by price level, best first."""
        return request(
            "GET",
            "/v1/markets/{}/book",
            Page[OutcomeBook],
            market,
            statuses=(200,),
            waits=True,
            query={"min_position": min_position, "wait_ms": wait_ms, "as_of_position": as_of_position, "as_of": as_of},
        )

    @paged
    def list_market_holders(
        self,
        market: str,
        *,
        outcome: str | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[Holder]]:
        """The holders of shares, largest first."""
        return request(
            "GET",
            "/v1/markets/{}/holders",
            Page[Holder],
            market,
            statuses=(200,),
            waits=True,
            query={
                "outcome": outcome,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def list_market_events(
        self,
        market: str,
        *,
        type: str | None = None,
        start: str | None = None,
        end: str | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[LifecycleEntry]]:
        """The lifecycle of the market: opened, halted, clarified, determined ...; newest first.

        The `account_id` of a dispute is null, except for that account, analysts and admins.
        """
        return request(
            "GET",
            "/v1/markets/{}/events",
            Page[LifecycleEntry],
            market,
            statuses=(200,),
            waits=True,
            query={
                "type": type,
                "start": start,
                "end": end,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def list_prices_histories(
        self,
        *,
        markets: str | None = None,
        interval: Literal["1h", "6h", "1d", "1w", "max"] | None = None,
        fidelity: int | None = None,
        start: str | None = None,
        end: str | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[HistoriesOfMarket]]:
        """The price histories of up to 100 markets, in the order of their names, as the read of one market has them.

        A page may end within a market; the next one goes on there.
        """
        return request(
            "GET",
            "/v1/prices-history",
            Page[HistoriesOfMarket],
            statuses=(200,),
            waits=True,
            query={
                "markets": markets,
                "interval": interval,
                "fidelity": fidelity,
                "start": start,
                "end": end,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def list_candlesticks(
        self,
        *,
        markets: str | None = None,
        period: Literal["1m", "5m", "1h", "1d"] | None = None,
        start: str | None = None,
        end: str | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[CandlesOfMarket]]:
        """The candles of up to 100 markets, in the order of their names, as the read of one market has them.

        A page may end within a market; the next one goes on there.
        """
        return request(
            "GET",
            "/v1/candlesticks",
            Page[CandlesOfMarket],
            statuses=(200,),
            waits=True,
            query={
                "markets": markets,
                "period": period,
                "start": start,
                "end": end,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def list_books(
        self,
        *,
        markets: str | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[BooksOfMarket]]:
        """The books of up to 100 markets, in the order of their names, as the read of one market has them."""
        return request(
            "GET",
            "/v1/books",
            Page[BooksOfMarket],
            statuses=(200,),
            waits=True,
            query={
                "markets": markets,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def open_account(
        self, name: str, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenAccount]:
        """Open an account.

        It is empty. No other account may have its name, nor one that looks like it.
        """
        return request(
            "POST",
            "/v1/accounts",
            WrittenAccount,
            statuses=(201,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"name": name},
            writes=True,
        )

    @paged
    def list_accounts(
        self,
        *,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[ListedAccount]]:
        """All accounts, newest first; with their cash only for the account itself, analysts and admins."""
        return request(
            "GET",
            "/v1/accounts",
            Page[ListedAccount],
            statuses=(200,),
            waits=True,
            query={
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def deposit(
        self, account: str, amount: Amount, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenAccount]:
        """Put credits into an account; `Idempotency-Key` is the id of the deposit."""
        return request(
            "POST",
            "/v1/accounts/{}/deposits",
            WrittenAccount,
            account,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"amount": amount},
            writes=True,
        )

    @call
    def withdraw(
        self, account: str, amount: Amount, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[WrittenAccount]:
        """Take available credits out of an account, with the account's own key or an admin's."""
        return request(
            "POST",
            "/v1/accounts/{}/withdrawals",
            WrittenAccount,
            account,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"amount": amount},
            writes=True,
        )

    @call
    def get_account(
        self,
        account: str,
        *,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Reading[AccountProfile]]:
        """An account and its profit: `pnl`, the sum of realized and unrealized profit, as on the leaderboard of all
        time.

        The account itself, analysts and admins also see available and held cash, and its equity, with its positions
        at their current prices. `withdrawable` is the available cash without gains that could still be taken back.
        """
        return request(
            "GET",
            "/v1/accounts/{}",
            Reading[AccountProfile],
            account,
            statuses=(200,),
            waits=True,
            query={"min_position": min_position, "wait_ms": wait_ms, "as_of_position": as_of_position, "as_of": as_of},
        )

    @paged
    def list_account_positions(
        self,
        account: str,
        *,
        market: str | None = None,
        closed: bool | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[AccountPosition]]:
        """Positions by market and outcome, with average cost and profit; `closed` adds those that are sold or
        settled.
        """
        return request(
            "GET",
            "/v1/accounts/{}/positions",
            Page[AccountPosition],
            account,
            statuses=(200,),
            waits=True,
            query={
                "market": market,
                "closed": closed,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def list_account_orders(
        self,
        account: str,
        *,
        market: str | None = None,
        open: bool | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[Order]]:
        """The account's orders, newest first; with `open=true` only resting ones."""
        return request(
            "GET",
            "/v1/accounts/{}/orders",
            Page[Order],
            account,
            statuses=(200,),
            waits=True,
            query={
                "market": market,
                "open": open,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def list_account_fills(
        self,
        account: str,
        *,
        market: str | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[AccountFill]]:
        """The account's fills, as taker and as maker, newest first."""
        return request(
            "GET",
            "/v1/accounts/{}/fills",
            Page[AccountFill],
            account,
            statuses=(200,),
            waits=True,
            query={
                "market": market,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def list_account_settlements(
        self,
        account: str,
        *,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[AccountSettlement]]:
        """Payments to the account by finalized, corrected and voided markets, and what they took back, newest first."""
        return request(
            "GET",
            "/v1/accounts/{}/settlements",
            Page[AccountSettlement],
            account,
            statuses=(200,),
            waits=True,
            query={
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def list_account_ledger(
        self,
        account: str,
        *,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[LedgerEntry]]:
        """The account's statement: every movement of its cash, with available and held cash afterwards, newest first."""
        return request(
            "GET",
            "/v1/accounts/{}/ledger",
            Page[LedgerEntry],
            account,
            statuses=(200,),
            waits=True,
            query={
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @paged
    def get_equity_history(
        self,
        account: str,
        *,
        start: str | None = None,
        end: str | None = None,
        step: Literal["1m", "5m", "1h", "1d"] | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[EquityPoint]]:
        """The account's equity at `start` and every step after it, oldest first, with positions at the prices of each
        time.

        Without a start these are the last 90 steps. There is no point before the account was opened, nor after the
        last event. A page of an account with very many positions has fewer points.
        """
        return request(
            "GET",
            "/v1/accounts/{}/equity-history",
            Page[EquityPoint],
            account,
            statuses=(200,),
            waits=True,
            query={
                "start": start,
                "end": end,
                "step": step,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def get_portfolio(
        self,
        account: str,
        *,
        page_size: int | None = None,
        cursor: str | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Reading[Portfolio]]:
        """Balances and profit of an account, its open positions with their markets and stories, and all its open
        orders.

        `limit` and `cursor` are about the positions.
        """
        return request(
            "GET",
            "/v1/accounts/{}/portfolio",
            Reading[Portfolio],
            account,
            statuses=(200,),
            waits=True,
            query={
                "limit": page_size,
                "cursor": cursor,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def place_order(
        self,
        *,
        market_id: str,
        outcome: str,
        side: Literal["buy", "sell"],
        type: Literal["market", "limit"],
        account: str | None = None,
        quantity: Amount | None = None,
        spend: Amount | None = None,
        limit_price: Amount | None = None,
        time_in_force: Literal["GTC", "GTD", "IOC", "FOK"] | None = None,
        expires_at: When | None = None,
        post_only: bool | None = None,
        reduce_only: bool | None = None,
        max_cost: Amount | None = None,
        min_proceeds: Amount | None = None,
        self_trade_prevention: Literal["cancel_taker", "cancel_maker"] | None = None,
        client_order_id: str | None = None,
        at: When | None = None,
    ) -> Call[OrderAnswer]:
        """Place an order.

        The answer says what it did at once: status, fills, cost, fee, and its position in the log.
        """
        return request(
            "POST",
            "/v1/orders",
            OrderAnswer,
            statuses=(
                200,
                201,
            ),
            at=at,
            body={
                "account": account,
                "market_id": market_id,
                "outcome": outcome,
                "side": side,
                "type": type,
                "quantity": quantity,
                "spend": spend,
                "limit_price": limit_price,
                "time_in_force": time_in_force,
                "expires_at": expires_at,
                "post_only": post_only,
                "reduce_only": reduce_only,
                "max_cost": max_cost,
                "min_proceeds": min_proceeds,
                "self_trade_prevention": self_trade_prevention,
                "client_order_id": client_order_id or new_id(),
            },
            writes=True,
        )

    @paged
    def list_orders(
        self,
        *,
        client_order_id: str | None = None,
        account: str | None = None,
        market: str | None = None,
        status: str | None = None,
        open: bool | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[Order]]:
        """Orders, newest first: of all accounts for analysts and admins, of its own account for any other key.

        A `client_order_id` is unique within its account. So with a key that sees all accounts, it takes the `account`
        too.
        """
        return request(
            "GET",
            "/v1/orders",
            Page[Order],
            statuses=(200,),
            waits=True,
            query={
                "client_order_id": client_order_id,
                "account": account,
                "market": market,
                "status": status,
                "open": open,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def place_batch(
        self, orders: Sequence[PlaceOrder], *, account: str | None = None, at: When | None = None
    ) -> Call[BatchAnswer]:
        """Place up to 100 orders.

        `results` has, in the same order, what each did, or the error that it would have alone.
        """
        return request(
            "POST",
            "/v1/orders/batch",
            BatchAnswer,
            statuses=(200,),
            at=at,
            body={"account": account, "orders": orders},
            writes=True,
        )

    @call
    def quote_order(
        self,
        *,
        market_id: str,
        outcome: str,
        side: Literal["buy", "sell"],
        type: Literal["market", "limit"],
        account: str | None = None,
        quantity: Amount | None = None,
        spend: Amount | None = None,
        limit_price: Amount | None = None,
        time_in_force: Literal["GTC", "GTD", "IOC", "FOK"] | None = None,
        expires_at: When | None = None,
        post_only: bool | None = None,
        reduce_only: bool | None = None,
        max_cost: Amount | None = None,
        min_proceeds: Amount | None = None,
        self_trade_prevention: Literal["cancel_taker", "cancel_maker"] | None = None,
        at: When | None = None,
    ) -> Call[QuoteAnswer]:
        """The result that an order would have now, and the prices afterwards.

        Nothing changes.
        """
        return request(
            "POST",
            "/v1/quotes",
            QuoteAnswer,
            statuses=(200,),
            at=at,
            body={
                "account": account,
                "market_id": market_id,
                "outcome": outcome,
                "side": side,
                "type": type,
                "quantity": quantity,
                "spend": spend,
                "limit_price": limit_price,
                "time_in_force": time_in_force,
                "expires_at": expires_at,
                "post_only": post_only,
                "reduce_only": reduce_only,
                "max_cost": max_cost,
                "min_proceeds": min_proceeds,
                "self_trade_prevention": self_trade_prevention,
            },
        )

    @call
    def cancel_order(
        self, order_id: str, *, account: str | None = None, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[CanceledOrderAnswer]:
        """Cancel a resting order."""
        return request(
            "DELETE",
            "/v1/orders/{}",
            CanceledOrderAnswer,
            order_id,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            query={"account": account},
            writes=True,
        )

    @call
    def amend_order(
        self,
        order_id: str,
        *,
        account: str | None = None,
        price: Amount | None = None,
        quantity: Amount | None = None,
        idempotency_key: str | None = None,
        at: When | None = None,
    ) -> Call[WrittenAmendedOrder]:
        """Give a resting order a new price or quantity.

        It keeps its time priority only if just the quantity shrinks. The answer is the order as it is afterwards;
        `fills` are those of the amendment.
        """
        return request(
            "PATCH",
            "/v1/orders/{}",
            WrittenAmendedOrder,
            order_id,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"account": account, "price": price, "quantity": quantity},
            writes=True,
        )

    @call
    def get_order(
        self,
        order_id: str,
        *,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Reading[Order]]:
        """An order.

        One of another account is unknown to whoever may not see it.
        """
        return request(
            "GET",
            "/v1/orders/{}",
            Reading[Order],
            order_id,
            statuses=(200,),
            waits=True,
            query={"min_position": min_position, "wait_ms": wait_ms, "as_of_position": as_of_position, "as_of": as_of},
        )

    @call
    def cancel_orders(
        self,
        *,
        account: str | None = None,
        market_id: str | None = None,
        idempotency_key: str | None = None,
        at: When | None = None,
    ) -> Call[CancelAnswer]:
        """Cancel all resting orders of the account, or those in one market; `canceled` lists them."""
        return request(
            "POST",
            "/v1/orders/cancel",
            CancelAnswer,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"account": account, "market_id": market_id},
            writes=True,
        )

    @paged
    def get_leaderboard(
        self,
        *,
        sort: Literal["pnl", "volume", "roi", "brier"] | None = None,
        window: Literal["day", "week", "month", "all"] | None = None,
        category: str | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[Standing]]:
        """Accounts by profit, volume, return or Brier score.

        Equal values share a rank, and the next rank is skipped. `trades` counts executions: one for an order that
        trades when it is placed, one for each fill of a resting order.
        """
        return request(
            "GET",
            "/v1/leaderboard",
            Page[Standing],
            statuses=(200,),
            waits=True,
            query={
                "sort": sort,
                "window": window,
                "category": category,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def get_calibration(
        self,
        *,
        category: str | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Reading[Calibration]]:
        """The accuracy of prices at the close, a day and a week before it: Brier and log score, reliability by
        decile.
        """
        return request(
            "GET",
            "/v1/calibration",
            Reading[Calibration],
            statuses=(200,),
            waits=True,
            query={
                "category": category,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def get_ledger(
        self,
        *,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Reading[LedgerBooks]]:
        """The sum of each book (cash, held, pools, fees, house, bonds, external), and `sum` over all of them: always
        0.

        For analysts and admins.
        """
        return request(
            "GET",
            "/v1/ledger",
            Reading[LedgerBooks],
            statuses=(200,),
            waits=True,
            query={"min_position": min_position, "wait_ms": wait_ms, "as_of_position": as_of_position, "as_of": as_of},
        )

    @paged
    def list_events(
        self,
        *,
        type: str | None = None,
        market: str | None = None,
        story: str | None = None,
        account: str | None = None,
        after: int | None = None,
        before: int | None = None,
        start: str | None = None,
        end: str | None = None,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[Event]]:
        """Events as `GET /v1/schemas` describes them, oldest first, with `before` newest first.

        `as_of` is the end of the log as it was read. The log as a whole is for analysts and admins. An account may
        read its own events, with `account`: there the accounts and orders that it traded with are null. The `body` of
        a command that was refused or had no effect is for its account, analysts and admins.
        """
        return request(
            "GET",
            "/v1/events",
            Page[Event],
            statuses=(200,),
            waits=True,
            query={
                "type": type,
                "market": market,
                "story": story,
                "account": account,
                "after": after,
                "before": before,
                "start": start,
                "end": end,
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def get_schemas(self) -> Call[dict[str, Any]]:
        """The JSON Schema of every type of event, by its durable name."""
        return request("GET", "/v1/schemas", dict[str, Any], statuses=(200,))

    @call
    def create_key(
        self,
        roles: Sequence[Literal["trader", "reader", "operator", "analyst", "admin"]],
        *,
        account: str | None = None,
        name: str | None = None,
        expires_at: When | None = None,
        idempotency_key: str | None = None,
    ) -> Call[NewKeyAnswer]:
        """Create a key: an admin any, a trader one for its own account, with the role trader or reader.

        Only this answer has its secret, in `key`; sent again with its `Idempotency-Key`, `key` is null. If that
        answer was lost, revoke the key and create another one. A key that a trader makes does not outlive the key
        that made it.
        """
        return request(
            "POST",
            "/v1/keys",
            NewKeyAnswer,
            statuses=(201,),
            idempotency_key=idempotency_key or new_id(),
            body={"roles": roles, "account": account, "name": name, "expires_at": expires_at},
            writes=True,
        )

    @call
    def list_keys(self, *, account: str | None = None) -> Call[KeyPage]:
        """All keys, or those of an account, revoked and expired ones included, without their secrets; a trader's own."""
        return request("GET", "/v1/keys", KeyPage, statuses=(200,), query={"account": account})

    @call
    def revoke_key(self, key_id: str) -> Call[WrittenKeyAnswer]:
        """Revoke a key: an admin any, a trader one of its own account.

        It stops working within a second, in every process.
        """
        return request("DELETE", "/v1/keys/{}", WrittenKeyAnswer, key_id, statuses=(200,), writes=True)

    @call
    def get_me(
        self,
        *,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Reading[Me]]:
        """Who one is: the key, its roles and when it expires, and the id and the name of its account."""
        return request(
            "GET",
            "/v1/me",
            Reading[Me],
            statuses=(200,),
            waits=True,
            query={"min_position": min_position, "wait_ms": wait_ms, "as_of_position": as_of_position, "as_of": as_of},
        )

    @call
    def create_invitation(
        self,
        *,
        uses: int,
        expires_at: When,
        credits: Amount | None = None,
        idempotency_key: str | None = None,
        at: When | None = None,
    ) -> Call[NewInvitation]:
        """Make an invitation.

        `link` is for those whom it lets in; it ends with the `code`, which no other answer has. Sent again with its
        `Idempotency-Key`, the request gets the same code.
        """
        return request(
            "POST",
            "/v1/invitations",
            NewInvitation,
            statuses=(201,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"uses": uses, "expires_at": expires_at, "credits": credits},
            writes=True,
        )

    @paged
    def list_invitations(
        self,
        *,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[ListedInvitation]]:
        """All invitations, newest first, without their codes."""
        return request(
            "GET",
            "/v1/invitations",
            Page[ListedInvitation],
            statuses=(200,),
            waits=True,
            query={
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def revoke_invitation(
        self, invitation_id: str, *, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[RevokedInvitation]:
        """Let nobody else in.

        The accounts that it has opened stay; to take their keys, revoke these.
        """
        return request(
            "DELETE",
            "/v1/invitations/{}",
            RevokedInvitation,
            invitation_id,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            writes=True,
        )

    @call
    def accept_invitation(
        self, *, code: str, name: str, idempotency_key: str | None = None, at: When | None = None
    ) -> Call[AcceptedInvitation]:
        """Open an account with the code of an invitation, and get the key of the account.

        This needs no key. Account, credits and key come into being together. Sent again with its `Idempotency-Key`,
        the request gets the same answer; `key` is null once the key has been used. Choose a random `Idempotency-Key`:
        until then, whoever has it and the code gets the key too. 202 means that all is done, and that the key works
        in a moment.
        """
        return request(
            "POST",
            "/v1/invitations/accept",
            AcceptedInvitation,
            statuses=(
                201,
                202,
            ),
            idempotency_key=idempotency_key or new_id(),
            at=at,
            body={"code": code, "name": name},
            writes=True,
        )

    @call
    def list_webhooks(self) -> Call[WebhookPage]:
        """All webhooks, oldest first, without their secrets: what each is told, how far it is, and what its last
        error was.
        """
        return request("GET", "/v1/webhooks", WebhookPage, statuses=(200,))

    @call
    def create_webhook(
        self,
        url: str,
        *,
        lifecycle: bool | None = None,
        min_cost: Amount | None = None,
        fills_of: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[NewWebhookAnswer]:
        """Have what happens from now on sent to a URL.

        Only this answer has the `secret` that signs the deliveries; sent again with its `Idempotency-Key`, it is
        null. If that answer was lost, make a new secret.
        """
        return request(
            "POST",
            "/v1/webhooks",
            NewWebhookAnswer,
            statuses=(201,),
            idempotency_key=idempotency_key or new_id(),
            body={"url": url, "lifecycle": lifecycle, "min_cost": min_cost, "fills_of": fills_of},
            writes=True,
        )

    @call
    def get_webhook(self, webhook_id: str) -> Call[OneWebhook]:
        """One webhook, without its secrets: what it is told, how far it is, and what its last error was."""
        return request("GET", "/v1/webhooks/{}", OneWebhook, webhook_id, statuses=(200,))

    @call
    def remove_webhook(self, webhook_id: str) -> Call[WrittenWebhookAnswer]:
        """Send nothing to this webhook any more.

        A request that is under way may still arrive.
        """
        return request("DELETE", "/v1/webhooks/{}", WrittenWebhookAnswer, webhook_id, statuses=(200,), writes=True)

    @call
    def rotate_webhook_secret(self, webhook_id: str, *, idempotency_key: str | None = None) -> Call[NewWebhookAnswer]:
        """Make a new secret, which only this answer has.

        The old one signs deliveries too for one more day. Sent again with its `Idempotency-Key`, the request makes
        none, and `secret` is null.
        """
        return request(
            "POST",
            "/v1/webhooks/{}/rotate-secret",
            NewWebhookAnswer,
            webhook_id,
            statuses=(200,),
            idempotency_key=idempotency_key or new_id(),
            body={},
            writes=True,
        )

    @call
    def enable_webhook(self, webhook_id: str, *, skip: bool | None = None) -> Call[WrittenWebhookAnswer]:
        """Let a webhook that is disabled, or waits after a failure, try again at once: where it was, or with `skip`
        from now on.
        """
        return request(
            "POST",
            "/v1/webhooks/{}/enable",
            WrittenWebhookAnswer,
            webhook_id,
            statuses=(200,),
            body={"skip": skip},
            writes=True,
        )

    @call
    def ping_webhook(self, webhook_id: str) -> Call[PingAnswer]:
        """Send a signed test message to a webhook now, whatever its status, and say whether it arrived.

        The webhook stays as it is: neither its place nor its failures change. This waits 10 seconds at most.
        """
        return request("POST", "/v1/webhooks/{}/ping", PingAnswer, webhook_id, statuses=(200,), body={}, writes=True)

    @paged
    def list_trades(
        self,
        *,
        page_size: int | None = None,
        min_position: int | None = None,
        wait_ms: int | None = None,
        as_of_position: int | None = None,
        as_of: str | None = None,
    ) -> Call[Page[Trade]]:
        """The tape: every fill in any market as a trade, newest first.

        What is private is null, as in the trades of a market.
        """
        return request(
            "GET",
            "/v1/trades",
            Page[Trade],
            statuses=(200,),
            waits=True,
            query={
                "limit": page_size,
                "min_position": min_position,
                "wait_ms": wait_ms,
                "as_of_position": as_of_position,
                "as_of": as_of,
            },
        )

    @call
    def get_health(self) -> Call[HealthAnswer]:
        """Liveness: the process answers."""
        return request("GET", "/healthz", HealthAnswer, statuses=(200,))

    @call
    def get_readiness(self) -> Call[ReadyAnswer]:
        """Readiness: 200 if the database, the log, the read models and an engine can be used, else 503 with what is
        missing.

        `TIDINGS_OPS_PORT` answers 503 also while the event loop of the API itself is stuck.
        """
        return request(
            "GET",
            "/readyz",
            ReadyAnswer,
            statuses=(
                200,
                503,
            ),
        )

    @call
    def get_status(self) -> Call[Reading[StatusAnswer]]:
        """The position of the log, of each read model and of the streams, and the lag of each in events and seconds
        of the log.

        It needs a key, except on `TIDINGS_OPS_PORT`. `lost` says how the log has lost events that the read models
        know; null if it has not.
        """
        return request("GET", "/v1/status", Reading[StatusAnswer], statuses=(200,))

    @call
    def get_metrics(self) -> Call[str]:
        """The same positions and lags, and counts and times of requests, for Prometheus.

        It needs a key, except on `TIDINGS_OPS_PORT`.
        """
        return request("GET", "/metrics", str, statuses=(200,))
