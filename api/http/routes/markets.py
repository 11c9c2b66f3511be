"""Markets: open one, take it through its life, split and merge its sets. What is read of markets is in `market_reads`."""

from typing import Any, Final

from fastapi import APIRouter
from psycopg import Connection
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from api.http.auth import Principal
from api.http.context import Anyone, Operator, WithContext
from api.http.errors import ApiError
from api.http.fields import (
    Amount,
    Body,
    Bond,
    DisputeSeconds,
    EvidenceText,
    Fraction,
    Moment,
    Outcomes,
    Payouts,
    Prices,
    Question,
    Reason,
    Reference,
    ResolutionSource,
    Slug,
    Url,
)
from api.http.serializers import shown
from api.http.writes import command_id_of, resource, submit
from domain.market import (
    BOND_DEFAULT,
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
from domain.money import format_decimal
from domain.orders import MergeSets, SplitSets
from messages.commands import Command, new_id
from projections.markets import markets
from projections.markets.tables import MarketRow
from projections.positions import positions
from projections.reading import AsOf

router = APIRouter(tags=["markets"])

NEEDS: Final = ("markets",)


class NewMarket(Body):
    """A question with 2 to 64 outcomes, exactly one of which comes true."""

    slug: Slug
    question: Question
    outcomes: Outcomes
    initial_prices: Prices | None = Field(None, description="one an outcome, sum 1; uniform if missing")
    subsidy: Amount = Field(description="credits from the house for the market maker: the most it can lose")
    fee_rate: Fraction = Field(0, description="of price * (1 - price) a share")
    close_time: Moment
    resolution_source: ResolutionSource
    dispute_seconds: DisputeSeconds = Field(0, description="how long a determination can be disputed")
    dispute_bond: Bond = Field(BOND_DEFAULT, description="the least a disputer posts")
    draft: bool = Field(False, description="do not open for trading yet")


class NoFields(Body):
    """Nothing is asked."""


class Clarification(Body):
    """A new wording."""

    resolution_source: ResolutionSource


class Liquidity(Body):
    """How much more the house gives the maker."""

    amount: Amount


class EvidenceBody(Body):
    """Why a market is resolved as it is."""

    text: EvidenceText
    url: Url | None = None


class Resolution(Body):
    """What a share of each outcome pays; those not named pay 0."""

    payouts: Payouts = Field(description="outcome -> fraction, sum exactly 1")
    evidence: EvidenceBody | EvidenceText


class Dispute(Body):
    """An account contests a determination and posts a bond."""

    reason: Reason
    bond: Bond | None = Field(None, description="the market's dispute_bond if missing")
    account: Reference | None = None


class Void(Body):
    """Why."""

    reason: Reason = "voided by the operator"


class Sets(Body):
    """An amount of complete sets: one share of every outcome for a credit."""

    amount: Amount
    account: Reference | None = None


@router.post("/stories/{story}/markets", status_code=201)
async def open_market(
    request: Request, context: WithContext, principal: Operator, story: str, market: NewMarket
) -> Response:
    """Open a market on a story: active at once, unless `draft`."""
    story_id = await context.names.resolve("story", story)
    command_id = command_id_of(request, principal)
    market_id = new_id("mk", command_id)
    reply = await submit(request, command_id, open_market_command(market, market_id, story_id))
    return await resource(request, reply, NEEDS, lambda c, a: market_json(find(c, a, market_id)), 201)


@router.post("/markets/{market}/activate")
async def activate(
    request: Request, context: WithContext, principal: Operator, market: str, _: NoFields | None = None
) -> Response:
    """Open a draft for trading."""
    market_id = await context.names.resolve("market", market)
    return await _act(request, principal, market_id, ActivateMarket(market_id))


@router.post("/markets/{market}/halt")
async def halt(
    request: Request, context: WithContext, principal: Operator, market: str, _: NoFields | None = None
) -> Response:
    """Stop trading for a while; resting orders stay."""
    market_id = await context.names.resolve("market", market)
    return await _act(request, principal, market_id, HaltMarket(market_id))


@router.post("/markets/{market}/resume")
async def resume(
    request: Request, context: WithContext, principal: Operator, market: str, _: NoFields | None = None
) -> Response:
    """Let a halted market trade again."""
    market_id = await context.names.resolve("market", market)
    return await _act(request, principal, market_id, ResumeMarket(market_id))


@router.post("/markets/{market}/close")
async def close(
    request: Request, context: WithContext, principal: Operator, market: str, _: NoFields | None = None
) -> Response:
    """End trading for good; resting orders are canceled."""
    market_id = await context.names.resolve("market", market)
    return await _act(request, principal, market_id, CloseMarket(market_id))


@router.post("/markets/{market}/clarify")
async def clarify(
    request: Request, context: WithContext, principal: Operator, market: str, body: Clarification
) -> Response:
    """Give the resolution source a new wording, as a new version."""
    market_id = await context.names.resolve("market", market)
    return await _act(request, principal, market_id, ClarifyMarket(market_id, body.resolution_source))


@router.post("/markets/{market}/add-liquidity")
async def add_liquidity(
    request: Request, context: WithContext, principal: Operator, market: str, body: Liquidity
) -> Response:
    """Move more subsidy from the house to the maker; prices stay."""
    market_id = await context.names.resolve("market", market)
    return await _act(request, principal, market_id, AddLiquidity(market_id, body.amount))


@router.post("/markets/{market}/determine")
async def determine(
    request: Request, context: WithContext, principal: Operator, market: str, body: Resolution
) -> Response:
    """Name the payouts of a closed market, or amend them while it is disputed; the dispute window begins."""
    market_id = await context.names.resolve("market", market)
    return await _act(request, principal, market_id, DetermineMarket(market_id, body.payouts, _evidence(body)))


@router.post("/markets/{market}/dispute")
async def dispute(request: Request, context: WithContext, principal: Anyone, market: str, body: Dispute) -> Response:
    """Contest a determination within its window, posting a bond."""
    market_id = await context.names.resolve("market", market)
    account_id = await context.names.acting_account(principal, body.account)
    return await _act(request, principal, market_id, DisputeMarket(market_id, account_id, body.reason, body.bond))


@router.post("/markets/{market}/uphold")
async def uphold(
    request: Request, context: WithContext, principal: Operator, market: str, _: NoFields | None = None
) -> Response:
    """Keep a disputed determination; the bond goes to the house, a new window begins."""
    market_id = await context.names.resolve("market", market)
    return await _act(request, principal, market_id, UpholdMarket(market_id))


@router.post("/markets/{market}/finalize")
async def finalize(
    request: Request, context: WithContext, principal: Operator, market: str, _: NoFields | None = None
) -> Response:
    """Pay out a determined market whose dispute window is over."""
    market_id = await context.names.resolve("market", market)
    return await _act(request, principal, market_id, FinalizeMarket(market_id))


@router.post("/markets/{market}/correct")
async def correct(
    request: Request, context: WithContext, principal: Operator, market: str, body: Resolution
) -> Response:
    """Replace the payouts of a finalized market: the old ones are reversed exactly, the new ones paid."""
    market_id = await context.names.resolve("market", market)
    return await _act(request, principal, market_id, CorrectMarket(market_id, body.payouts, _evidence(body)))


@router.post("/markets/{market}/void")
async def void(
    request: Request, context: WithContext, principal: Operator, market: str, body: Void | None = None
) -> Response:
    """Undo every cash movement of the market."""
    market_id = await context.names.resolve("market", market)
    return await _act(request, principal, market_id, VoidMarket(market_id, (body or Void()).reason))


@router.post("/markets/{market}/split")
async def split(request: Request, context: WithContext, principal: Anyone, market: str, body: Sets) -> Response:
    """Turn credits into as many shares of every outcome."""
    market_id = await context.names.resolve("market", market)
    account_id = await context.names.acting_account(principal, body.account)
    return await _change_sets(request, principal, SplitSets(account_id, market_id, body.amount))


@router.post("/markets/{market}/merge")
async def merge(request: Request, context: WithContext, principal: Anyone, market: str, body: Sets) -> Response:
    """Turn as many shares of every outcome into credits."""
    market_id = await context.names.resolve("market", market)
    account_id = await context.names.acting_account(principal, body.account)
    return await _change_sets(request, principal, MergeSets(account_id, market_id, body.amount))


async def _act(request: Request, principal: Principal, market_id: str, command: Command) -> Response:
    reply = await submit(request, command_id_of(request, principal), command)
    return await resource(request, reply, NEEDS, lambda c, a: market_json(find(c, a, market_id)))


async def _change_sets(request: Request, principal: Principal, command: SplitSets | MergeSets) -> Response:
    reply = await submit(request, command_id_of(request, principal), command)

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        rows = positions.account_positions(
            connection, as_of, command.account_id, market_id=command.market_id, closed=True
        )
        return {
            "account_id": command.account_id,
            "market_id": command.market_id,
            "amount": format_decimal(command.amount),
            "positions": [shown(row) for row in rows],
        }

    return await resource(request, reply, (positions.account_positions,), query)


def open_market_command(market: NewMarket, market_id: str, story_id: str) -> OpenMarket:
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


def outcome_index(market: MarketRow, outcome: str | None) -> int:
    """Return the place of an outcome, the first when none is named; raises ApiError UNKNOWN_OUTCOME."""
    if outcome is None:
        return 0
    if outcome not in market.outcomes:
        raise ApiError("UNKNOWN_OUTCOME", "the market has no such outcome", {"outcome": outcome})
    return market.outcomes.index(outcome)


def market_json(row: MarketRow) -> dict[str, Any]:
    """Return a market as it is shown: `outcomes` with the odds, open interest and payout of each."""
    wire = shown(row)
    odds = dict(zip(row.outcomes, wire["prices"], strict=True))
    payouts = wire.pop("payouts") or [None] * len(row.outcomes)
    columns = zip(
        wire.pop("outcomes"), wire.pop("prices"), wire.pop("initial_prices"), wire.pop("open_interest"), payouts,
        strict=True,
    )  # fmt: skip
    wire["open_interest"] = wire.pop("open_interest_total")
    return {
        **wire,
        "odds": odds,
        "outcomes": [
            {"outcome": name, "price": price, "initial_price": initial, "open_interest": interest, "payout": payout}
            for name, price, initial, interest, payout in columns
        ],
    }


def _evidence(body: Resolution) -> Evidence:
    if isinstance(body.evidence, str):
        return Evidence(body.evidence)
    return Evidence(body.evidence.text, body.evidence.url)
