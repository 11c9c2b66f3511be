"""The leaderboard of accounts, and the calibration of market prices."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.http.openapi import list_of, one
from api.http.reads import Cursor, Limit, Read, answer
from api.http.resources import STANDING
from api.http.serializers import serialize
from projections import calibration as calibrations
from projections.positions import leaderboard as leaderboards

router = APIRouter(tags=["leaderboard"])


@router.get("/leaderboard", responses=list_of(STANDING))
async def get_leaderboard(
    read: Read,
    sort: leaderboards.Sort = "pnl",
    window: Annotated[leaderboards.Window, Query(description="UTC calendar, weeks from Monday")] = "all",
    category: str | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Accounts by profit, volume, return or Brier score. Equal values share a rank, and the next rank is skipped.

    `trades` counts executions: one for an order that trades when it is placed, one for each fill of a resting order.
    """
    after = read.after(cursor, int, str)
    rows, as_of = await read.fetch_kept(
        (leaderboards.leaderboard,),
        lambda c, a: leaderboards.leaderboard(
            c, a, sort=sort, window=window, category=category, limit=limit + 1, after=after
        ),
        *("leaderboard", sort, window, category, limit, after),
    )
    return read.page(rows, limit, standing_json, as_of)


@router.get("/calibration", responses=one(calibrations.Calibration))
async def get_calibration(read: Read, category: str | None = None) -> Response:
    """The accuracy of prices at the close, a day and a week before it: Brier and log score, reliability by decile."""
    found, as_of = await read.fetch(
        (calibrations.calibration,), lambda c, a: calibrations.calibration(c, a, category=category)
    )
    return answer(serialize(found), as_of)


def standing_json(row: leaderboards.Standing) -> dict[str, Any]:
    """Return a line of the leaderboard in JSON's types; `account` is the account's name."""
    line = serialize(row)
    return {"rank": line.pop("rank"), "account": line.pop("name"), **line}
