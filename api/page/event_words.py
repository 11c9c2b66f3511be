"""The words for kinds of events."""

from __future__ import annotations

from api.page.languages import translate as _


def event_words(kind: str) -> str:
    """Return the words for the kind of an event, for people; the kind itself where there are none."""
    words = {
        "AccountOpened": _("Account opened"),
        "CashDeposited": _("Deposit"),
        "CashWithdrawn": _("Withdrawal"),
        "OrderPlaced": _("Order"),
        "OrderCanceled": _("Order canceled"),
        "OrderAmended": _("Order changed"),
        "OrderReduced": _("Order reduced"),
        "RestingOrderFilled": _("Waiting order filled"),
        "TradeSettled": _("Trade"),
        "SetsMinted": _("Complete sets made"),
        "SetsBurned": _("Complete sets dissolved"),
        "SetsSplit": _("Complete sets made"),
        "SetsMerged": _("Complete sets dissolved"),
        "PayoutPaid": _("Paid out"),
        "PayoutReversed": _("Payouts taken back"),
        "PositionVoided": _("Trades undone"),
        "OrderReserved": _("Held for an order"),
        "OrderReleased": _("Released from an order"),
        "BondPosted": _("Bond posted"),
        "BondReturned": _("Bond returned"),
        "BondForfeited": _("Bond lost"),
        "MarketDrafted": _("Drafted"),
        "MarketActivated": _("Opened for trading"),
        "MarketHalted": _("Halted"),
        "MarketResumed": _("Resumed"),
        "MarketClosed": _("Closed"),
        "ResolutionClarified": _("Wording clarified"),
        "LiquidityAdded": _("Subsidy added"),
        "DisputeUpheld": _("Result upheld"),
        "MarketReversed": _("Payouts taken back"),
        "MarketSettled": _("Paid out"),
        "MarketUnwound": _("Trades undone"),
        "MarketDetermined": _("Result proposed"),
        "MarketDisputed": _("Disputed"),
        "MarketFinalized": _("Resolved"),
        "MarketCorrected": _("Corrected"),
        "MarketVoided": _("Voided"),
    }
    return words.get(kind, kind)
