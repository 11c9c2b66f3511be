"""The ledger of the whole exchange: the sum of each book, and the sum of all, which is 0."""

from fastapi import APIRouter
from starlette.responses import Response

from api.http.answers import LedgerBooks
from api.http.openapi import one
from api.http.reads import Read, answer
from domain.money import format_decimal
from projections import accounts

router = APIRouter(tags=["ledger"])


@router.get("/ledger", responses=one(LedgerBooks, "FORBIDDEN"))
async def get_ledger(read: Read) -> Response:
    """The sum of each book (cash, held, pools, fees, house, bonds, external), and `sum` over all of them: always 0.

    For analysts and admins.
    """
    read.check_sees_all()
    sums, as_of = await read.fetch((accounts.ledger_sums,), accounts.ledger_sums)
    books = {book: format_decimal(amount) for book, amount in sums.items()}
    return answer({"books": books, "sum": format_decimal(sum(sums.values()))}, as_of)
