"""Markets: open one, take it through its life, split and merge its sets. `market_reads` has the reads of markets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from psycopg import Connection
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from api.http.auth import Principal
from api.http.context import Actor, MarketId, Operator, WithContext, context_of
from api.http.errors import ApiError
from api.http.fields import (
    Amount,
    Bond,
    DisputeSeconds,
    EmptyBody,
    EvidenceText,
    Fraction,
    Moment,
    Outcomes,
    Payouts,
    Prices,
    Question,
    Reason,
    Reference,
    RequestBody,
    ResolutionSource,
    Slug,
    Url,
)
from api.http.labels import NEEDS as LABEL_NEEDS
from api.http.openapi import written
from api.http.resources import MARKET_WITH_WORDINGS, SETS
from api.http.serializers import serialize
from api.http.writes import command_id_of, resource, submit
from domain.market import (
    BOND_DEFAULT,
    DISPUTE_SECONDS_DEFAULT,
    ActivateMarket,
    AddLiquidity,
    ClarifyMarket,
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    Evidence,
    FinalizeMarket,
    HaltMarket,
    OpenMarket,
    ResumeMarket,
    UpholdMarket,
    VoidMarket,
)
from domain.money import Price, format_decimal
from domain.orders import MergeSets, SplitSets
from messages.commands import Command, new_id
from messages.names import nfc
from projections.markets import listing, markets
from projections.markets.tables import MarketRow
from projections.positions import leaderboard, positions
from projections.reading import AsOf, Need

router = APIRouter(tags=["markets"])

NEEDS: Final = (markets.get_market, listing.changes)

PAID_NEEDS: Final = (*NEEDS, leaderboard.leaderboard)
"""What shows a payout: the market, and the balances, positions and profits that the leaderboard reads."""


class OpenMarketBody(RequestBody):
    """A question with 2 to 64 outcomes, exactly one of which comes true."""

    slug: Slug | None = Field(None, description="if missing, derived from the question: a free one")
    question: Question
    outcomes: Outcomes
    initial_prices: Prices | None = Field(None, description="one per outcome, sum 1; uniform if missing")
    subsidy: Amount = Field(description="credits from the house for the AMM: the most that it can lose")
    fee_rate: Fraction = Field(0, description="fraction of price * (1 - price) per share")
    close_time: Moment
    resolution_source: ResolutionSource
    dispute_seconds: DisputeSeconds = Field(
        DISPUTE_SECONDS_DEFAULT, description="how long a determination can be disputed; a day if missing"
    )
    dispute_bond: Bond = Field(BOND_DEFAULT, description="the smallest bond of the first dispute; it doubles")
    draft: bool = Field(False, description="do not open for trading yet")


class ClarifyMarketBody(RequestBody):
    """A new wording."""

    resolution_source: ResolutionSource


class AddLiquidityBody(RequestBody):
    """The credits that the house adds to the subsidy of the AMM."""

    amount: Amount


class EvidenceBody(RequestBody):
    """Why a market is resolved in this way."""

    text: EvidenceText
    url: Url | None = None


class PayoutsBody(RequestBody):
    """The payout of a share of each outcome; outcomes that are not named pay 0."""

    payouts: Payouts = Field(description="outcome -> fraction, sum exactly 1")
    evidence: EvidenceBody | EvidenceText


class DisputeMarketBody(RequestBody):
    """Why an account contests a determination, and the bond that it posts."""

    reason: Reason
    bond: Bond | None = Field(None, description="the smallest bond if missing")
    account: Reference | None = None


class VoidMarketBody(RequestBody):
    """Why a market is voided."""

    reason: Reason = "voided by the operator"


class SetsBody(RequestBody):
    """An amount of complete sets. A set is one share of every outcome, for one credit."""

    amount: Amount
    account: Reference | None = None


@dataclass(frozen=True, slots=True)
class MarketWrite:
    """A write to the market in the path: the request, who asks, and the market's id."""

    request: Request
    principal: Principal
    market_id: str

    async def submit(self, command: Command, needs: Sequence[Need] = NEEDS) -> Response:
        """Submit the command and return the market as it is afterwards, once these read models include the write."""
        command_id = command_id_of(self.request, self.principal, type(command))
        reply = await submit(self.request, command_id, command)
        return await resource(self.request, reply, needs, lambda c, a: whole_market(c, a, self.market_id))


async def operator_write(request: Request, principal: Operator, market_id: MarketId) -> MarketWrite:
    """Return an operator's write to the market in the path."""
    return MarketWrite(request, principal, market_id)


OperatorWrite = Annotated[MarketWrite, Depends(operator_write)]


@router.post(
    "/stories/{story}/markets", status_code=201, responses=written(MARKET_WITH_WORDINGS, OpenMarket, status=201)
)
async def open_market(
    request: Request, context: WithContext, principal: Operator, story: str, market: OpenMarketBody
) -> Response:
    """Open a market on a story: active at once, unless `draft`."""
    story_id = await context.references.resolve("story", story)
    command_id = command_id_of(request, principal, OpenMarket)
    market_id = new_id("mk", command_id)
    reply = await submit(request, command_id, open_market_command(market, market_id, story_id))
    return await resource(request, reply, NEEDS, lambda c, a: whole_market(c, a, market_id), 201)


@router.post("/markets/{market}/activate", responses=written(MARKET_WITH_WORDINGS, ActivateMarket))
async def activate_market(write: OperatorWrite, _: EmptyBody | None = None) -> Response:
    """Open a draft for trading."""
    return await write.submit(ActivateMarket(write.market_id))


@router.post("/markets/{market}/halt", responses=written(MARKET_WITH_WORDINGS, HaltMarket))
async def halt_market(write: OperatorWrite, _: EmptyBody | None = None) -> Response:
    """Stop trading for a while; resting orders stay."""
    return await write.submit(HaltMarket(write.market_id))


@router.post("/markets/{market}/resume", responses=written(MARKET_WITH_WORDINGS, ResumeMarket))
async def resume_market(write: OperatorWrite, _: EmptyBody | None = None) -> Response:
    """Let a halted market trade again."""
    return await write.submit(ResumeMarket(write.market_id))


@router.post("/markets/{market}/close", responses=written(MARKET_WITH_WORDINGS, CloseMarket))
async def close_market(write: OperatorWrite, _: EmptyBody | None = None) -> Response:
    """End trading for good; resting orders are canceled."""
    return await write.submit(CloseMarket(write.market_id))


@router.post("/markets/{market}/clarify", responses=written(MARKET_WITH_WORDINGS, ClarifyMarket))
async def clarify_market(write: OperatorWrite, body: ClarifyMarketBody) -> Response:
    """Give the resolution source a new wording, as a new version."""
    return await write.submit(ClarifyMarket(write.market_id, body.resolution_source))


@router.post("/markets/{market}/add-liquidity", responses=written(MARKET_WITH_WORDINGS, AddLiquidity))
async def add_liquidity(write: OperatorWrite, body: AddLiquidityBody) -> Response:
    """Move more subsidy from the house to the AMM; prices stay."""
    return await write.submit(AddLiquidity(write.market_id, body.amount))


@router.post("/markets/{market}/determine", responses=written(MARKET_WITH_WORDINGS, DetermineMarket))
async def determine_market(write: OperatorWrite, body: PayoutsBody) -> Response:
    """Set the payouts of a closed market, or amend them while it is disputed; the dispute window begins."""
    return await write.submit(DetermineMarket(write.market_id, body.payouts, _evidence(body)))


@router.post("/markets/{market}/dispute", responses=written(MARKET_WITH_WORDINGS, DisputeMarket))
async def dispute_market(
    request: Request, context: WithContext, principal: Actor, market_id: MarketId, body: DisputeMarketBody
) -> Response:
    """Contest a determination within its window, posting a bond.

    The smallest bond is the market's `next_dispute_bond`. It begins with `dispute_bond`, and doubles with each dispute.
    """
    account_id = await context.references.acting_account(principal, body.account)
    write = MarketWrite(request, principal, market_id)
    return await write.submit(DisputeMarket(market_id, account_id, body.reason, body.bond))


@router.post("/markets/{market}/uphold", responses=written(MARKET_WITH_WORDINGS, UpholdMarket))
async def uphold_market(write: OperatorWrite, _: EmptyBody | None = None) -> Response:
    """Keep a disputed determination; the bond goes to the house, and a new window begins."""
    return await write.submit(UpholdMarket(write.market_id))


@router.post("/markets/{market}/finalize", responses=written(MARKET_WITH_WORDINGS, FinalizeMarket))
async def finalize_market(write: OperatorWrite, _: EmptyBody | None = None) -> Response:
    """Pay out a determined market whose dispute window is over."""
    return await write.submit(FinalizeMarket(write.market_id), PAID_NEEDS)


@router.post("/markets/{market}/correct", responses=written(MARKET_WITH_WORDINGS, CorrectMarket))
async def correct_market(write: OperatorWrite, body: PayoutsBody) -> Response:
    """Replace the payouts of a finalized market: the old ones are reversed exactly, the new ones paid."""
    return await write.submit(CorrectMarket(write.market_id, body.payouts, _evidence(body)), PAID_NEEDS)


@router.post("/markets/{market}/void", responses=written(MARKET_WITH_WORDINGS, VoidMarket))
async def void_market(write: OperatorWrite, body: VoidMarketBody | None = None) -> Response:
    """Undo every cash movement of the market."""
    return await write.submit(VoidMarket(write.market_id, (body or VoidMarketBody()).reason), PAID_NEEDS)


@router.post("/markets/{market}/split", responses=written(SETS, SplitSets))
async def split_sets(
    request: Request, context: WithContext, principal: Actor, market_id: MarketId, body: SetsBody
) -> Response:
    """Turn credits into the same number of shares of every outcome."""
    account_id = await context.references.acting_account(principal, body.account)
    return await _change_sets(request, principal, SplitSets(account_id, market_id, body.amount))


@router.post("/markets/{market}/merge", responses=written(SETS, MergeSets))
async def merge_sets(
    request: Request, context: WithContext, principal: Actor, market_id: MarketId, body: SetsBody
) -> Response:
    """Turn the same number of shares of every outcome into credits."""
    account_id = await context.references.acting_account(principal, body.account)
    return await _change_sets(request, principal, MergeSets(account_id, market_id, body.amount))


async def _change_sets(request: Request, principal: Principal, command: SplitSets | MergeSets) -> Response:
    reply = await submit(request, command_id_of(request, principal, type(command)), command)

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        rows = positions.account_positions(
            connection, as_of, command.account_id, market_id=command.market_id, closed=True
        )
        labels = context_of(request).labels.of(connection, as_of, rows)
        return {
            "account_id": command.account_id,
            "market_id": command.market_id,
            "amount": format_decimal(command.amount),
            "positions": [labels.add(serialize(row)) for row in rows],
        }

    return await resource(request, reply, (positions.account_positions, *LABEL_NEEDS), query)


def open_market_command(market: OpenMarketBody, market_id: str, story_id: str) -> OpenMarket:
    """Return the command that opens a market with these terms."""
    return OpenMarket(
        market_id=market_id,
        story_id=story_id,
        slug=market.slug,
        question=market.question,
        outcomes=market.outcomes,
        subsidy=market.subsidy,
        close_time=market.close_time,
        resolution_source=market.resolution_source,
        initial_prices=market.initial_prices or (),
        fee_rate=market.fee_rate,
        dispute_seconds=market.dispute_seconds,
        dispute_bond=market.dispute_bond,
        draft=market.draft,
    )


def find(connection: Connection[Any], as_of: AsOf, reference: str) -> MarketRow:
    """Return a market by id or slug; raises ApiError MARKET_NOT_FOUND."""
    found = markets.get_market(connection, as_of, reference)
    if found is None:
        raise ApiError("MARKET_NOT_FOUND", "no such market", {"market": reference})
    return found


def find_all(connection: Connection[Any], as_of: AsOf, references: Sequence[str]) -> list[MarketRow]:
    """Return markets by ids or slugs, in this order; raises ApiError MARKET_NOT_FOUND, which names the first unknown one."""
    found = markets.named(connection, as_of, references)
    for each in references:
        if each not in found:
            raise ApiError("MARKET_NOT_FOUND", "no such market", {"market": each})
    return [found[each] for each in references]


def whole_market(connection: Connection[Any], as_of: AsOf, reference: str) -> dict[str, Any]:
    """Return a market with all wordings of its resolution source; raises ApiError MARKET_NOT_FOUND."""
    found = find(connection, as_of, reference)
    wordings = markets.resolutions(connection, as_of, found.market_id)
    (market,) = markets_json(connection, as_of, [found])
    return {**market, "resolutions": [serialize(wording) for wording in wordings]}


def outcome_indexes(market: MarketRow, outcome: str | None) -> Sequence[int]:
    """Return the index of the named outcome, or of all when none is named; raises ApiError UNKNOWN_OUTCOME."""
    if outcome is None:
        return range(len(market.outcomes))
    name = nfc(outcome)
    if name not in market.outcomes:
        raise ApiError("UNKNOWN_OUTCOME", "the market has no such outcome", {"outcome": outcome})
    return [market.outcomes.index(name)]


def markets_json(connection: Connection[Any], as_of: AsOf, rows: Sequence[MarketRow]) -> list[dict[str, Any]]:
    """Return markets in JSON's types. Needs `NEEDS`."""
    changes = listing.changes(connection, as_of, rows)
    return [market_json(row, changes[row.market_id]) for row in rows]


def market_json(row: MarketRow, change: Sequence[Price]) -> dict[str, Any]:
    """Return a market in JSON's types: `outcomes` has the price, open interest and payout of each.

    `odds` are its payouts once it is finalized, else its prices; `last_prices` are its prices in any case, and `change_24h`
    says by how much they have changed.
    """
    market = serialize(row)
    del market["disputed_by"]  # private to the account
    odds, last_prices = (dict(zip(row.outcomes, market[name], strict=True)) for name in ("odds", "prices"))
    payouts = market.pop("payouts") or [None] * len(row.outcomes)
    columns = zip(
        market.pop("outcomes"), market.pop("prices"), market.pop("initial_prices"), market.pop("open_interest"), payouts,
        strict=True,
    )  # fmt: skip
    market["open_interest"] = market.pop("largest_interest")
    return {
        **market,
        "odds": odds,
        "last_prices": last_prices,
        "change_24h": dict(zip(row.outcomes, map(format_decimal, change), strict=True)),
        "outcomes": [
            {"outcome": name, "price": price, "initial_price": initial, "open_interest": interest, "payout": payout}
            for name, price, initial, interest, payout in columns
        ],
    }


def _evidence(body: PayoutsBody) -> Evidence:
    if isinstance(body.evidence, str):
        return Evidence(body.evidence)
    return Evidence(body.evidence.text, body.evidence.url)
