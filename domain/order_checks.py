"""Which fields of an order go together: the checks that need neither the market nor the account."""

from domain.money import AMOUNT_MAX, MICRO, PRICE_MAX, PRICE_MIN, PRICE_TICK, Price, Time
from domain.orders import PlaceOrder
from domain.rejections import Code, Rejection, invalid, reject


def check_order(command: PlaceOrder, time: Time) -> Rejection | None:  # noqa: C901, PLR0912  one guard a line
    """Return what is wrong with the fields of an order, or None."""
    if wrong := (
        _check_amount("quantity", command.quantity)
        or _check_amount("spend", command.spend)
        or _check_amount("max_cost", command.max_cost)
    ):
        return wrong
    if command.min_proceeds is not None and not 0 <= command.min_proceeds <= AMOUNT_MAX:
        return invalid("min_proceeds", f"must be 0 to {AMOUNT_MAX // MICRO}", given=command.min_proceeds)
    buys, limit = command.side == "buy", command.type == "limit"
    tif = command.time_in_force
    if command.spend is not None and (limit or not buys):
        return invalid("spend", "is allowed only for a market buy")
    if (command.quantity is None) == (command.spend is None):
        return invalid("quantity", "must be given" if command.quantity is None else "and spend cannot both be given")
    if limit and command.limit_price is None:
        return invalid("limit_price", "must be given for a limit order")
    if not limit and command.limit_price is not None:
        return invalid("limit_price", "is allowed only for a limit order")
    if command.limit_price is not None and (wrong := check_price(command.limit_price)):
        return wrong
    if not limit and tif not in {None, "IOC", "FOK"}:
        return invalid("time_in_force", "must be IOC or FOK for a market order")
    if (tif == "GTD") != (command.expires_at is not None):
        return invalid("expires_at", "must be given with GTD, and only then")
    if command.expires_at is not None and command.expires_at <= time:
        return reject(Code.ORDER_EXPIRED, "expires_at must be in the future", expires_at=command.expires_at, now=time)
    if command.post_only and (not limit or tif in {"IOC", "FOK"}):
        return invalid("post_only", "is allowed only for a limit order that may rest")
    if command.reduce_only and buys:
        return invalid("reduce_only", "is allowed only for a sell")
    if command.max_cost is not None and not buys:
        return invalid("max_cost", "is allowed only for a buy")
    if command.min_proceeds is not None and buys:
        return invalid("min_proceeds", "is allowed only for a sell")
    return None


def _check_amount(name: str, amount: int | None) -> Rejection | None:
    if amount is None or 0 < amount <= AMOUNT_MAX:
        return None
    return invalid(name, f"must be above 0 and at most {AMOUNT_MAX // MICRO}", given=amount)


def check_price(price: Price) -> Rejection | None:
    """Return why an order cannot have this price, or None."""
    if PRICE_MIN <= price <= PRICE_MAX and price % PRICE_TICK == 0:
        return None
    return reject(
        Code.INVALID_PRICE,
        "limit_price must be a multiple of 0.001 from 0.001 to 0.999",
        field="limit_price",
        given=price,
        tick=PRICE_TICK,
    )
