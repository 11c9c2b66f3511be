"""Who earns most, who trades most, whose prices were right; and whether the market's were."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.http.reads import Read, answer
from api.http.serializers import shown
from projections import calibration as calibrations
from projections.positions import leaderboard as leaderboards

router = APIRouter(tags=["leaderboard"])


@router.get("/leaderboard")
async def get_leaderboard(
    read: Read,
    sort: leaderboards.Sort = "pnl",
    window: Annotated[leaderboards.Window, Query(description="UTC calendar, weeks from Monday")] = "all",
    category: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Accounts by profit, volume, return or Brier score; equal values share a rank and the next one skips."""
    rows, as_of = await read.fetch(
        (leaderboards.leaderboard,),
        lambda c, a: leaderboards.leaderboard(c, a, sort=sort, window=window, category=category, limit=limit),
    )
    return answer([standing_json(row) for row in rows], as_of)


@router.get("/calibration")
async def get_calibration(read: Read, category: str | None = None) -> Response:
    """How right market prices were at close, a day and a week before it: Brier and log score, reliability by decile."""
    found, as_of = await read.fetch(
        (calibrations.calibration,), lambda c, a: calibrations.calibration(c, a, category=category)
    )
    return answer(shown(found), as_of)


def standing_json(row: leaderboards.Standing) -> dict[str, Any]:
    """Return a line of the leaderboard as it is shown; `account` is the name."""
    wire = shown(row)
    return {"rank": wire.pop("rank"), "account": wire.pop("name"), **wire}
