"""One invented example of every event type; `golden/` freezes its bytes in the log."""

from domain.account import (
    AccountOpened,
    BondForfeited,
    BondPosted,
    BondReturned,
    CashDeposited,
    CashWithdrawn,
    OrderReleased,
    OrderReserved,
    PayoutPaid,
    PayoutReversed,
    PositionVoided,
    SetsMerged,
    SetsSplit,
    SharesPaid,
    TradeSettled,
)
from domain.assignments import PartitionAssigned
from domain.events import Event
from domain.invitations import InvitationAccepted, InvitationCreated, InvitationRevoked
from domain.market import (
    DisputeUpheld,
    Evidence,
    LiquidityAdded,
    MarketActivated,
    MarketClosed,
    MarketCorrected,
    MarketDetermined,
    MarketDisputed,
    MarketDrafted,
    MarketFinalized,
    MarketHalted,
    MarketResumed,
    MarketReversed,
    MarketSettled,
    MarketUnwound,
    MarketVoided,
    Payout,
    ResolutionClarified,
    SetsBurned,
    SetsMinted,
)
from domain.orders import (
    Execution,
    Fill,
    OrderAmended,
    OrderCanceled,
    OrderPlaced,
    OrderReduced,
    RestingOrderFilled,
)
from domain.partition import CommandHadNoEffect, CommandRejected, CommandsRead, SnapshotWritten
from domain.rejections import Code
from domain.story import StoryPublished
from domain.transfers import BalanceOpened, FundsCarried, FundsReceived, FundsSent
from domain.values import Json

TIME = 1_729_764_120_000_000  # 2024-10-24T10:02:00Z

M, A, O, S = "mk_combat", "ac_ada", "or_first", "st_troops"  # noqa: E741  one letter for each kind of id
YES, NO = Payout("Yes", 1_000_000), Payout("No", 0)
PAID = (SharesPaid("Yes", 19_069_273),)
EVIDENCE = Evidence("The Pentagon confirmed it.", "https://example.org/report")

EXECUTION = Execution(
    status="partially_filled",
    filled=19_069_273,
    remaining=5_000_000,
    cost=10_000_000,
    fee=12_500,
    fills=(
        Fill(520_000, 9_069_273, 4_716_022, "book", "or_other", "ac_bob", 4_353_251),
        Fill(528_398, 10_000_000, 5_283_978, "amm"),
    ),
    amm_shares=10_000_000,
    sets=9_069_273,
    prices=(465_123, 534_877),
    resting=True,
)

EXAMPLES: tuple[Event, ...] = (
    StoryPublished(S, "troops", "US confirms troops", "The body, with “quotes”.", "world", TIME, None),
    MarketDrafted(
        M,
        S,
        "combat",
        "Will they fight?",
        ("No", "Yes"),
        (500_000, 500_000),
        100_000_000,
        20_000,
        TIME + 86_400_000_000,
        "Major news agencies",
        3600,
        1_000_000,
    ),
    MarketActivated(M, 100_000_000, 144_269_504_088_896, (500_000, 500_000)),
    MarketHalted(M),
    MarketResumed(M),
    MarketClosed(M, "close_time", (465_123, 534_877)),
    ResolutionClarified(M, 2, "Major news agencies, or the ministry of defence"),
    LiquidityAdded(
        M, 50_000_000, 216_404_256_133_344, (-765_453_000_000, -625_718_000_000), swept_prices=(465_120, 534_880)
    ),
    MarketDetermined(M, (YES, NO), EVIDENCE, TIME + 3_600_000_000),
    MarketDisputed(M, A, 1_000_000, "It was a drill.", ("bond",)),
    DisputeUpheld(M, TIME + 7_200_000_000),
    MarketFinalized(M, (YES, NO)),
    MarketCorrected(M, (Payout("Yes", 250_000), Payout("No", 750_000)), EVIDENCE, 80_930_727),
    MarketReversed(M),
    MarketSettled(M, 90_930_727),
    MarketVoided(M, "The question was wrong.", 12_500, 1_000_000),
    MarketUnwound(M, 100_000_000),
    SetsMinted(M, A, 5_000_000),
    SetsBurned(M, A, 2_000_000),
    OrderPlaced(
        M,
        A,
        O,
        "first-1",
        "Yes",
        "buy",
        "limit",
        24_069_273,
        None,
        530_000,
        "GTD",
        TIME + 60_000_000,
        False,
        False,
        1,
        EXECUTION,
        # No order names all of these; the example does, so that the golden file has their names.
        requested_quantity=30_000_000,
        max_cost=12_000_000,
        min_proceeds=0,
        self_trade_prevention="cancel_maker",
    ),
    OrderAmended(
        M, A, O, "first-1", "Yes", "buy", 540_000, 30_000_000, 19_069_273, None, False, EXECUTION, ("quantity",)
    ),
    OrderReduced(M, A, O, "first-1", "Yes", "buy", 530_000, 22_000_000, 2_930_727, ("limit_price",)),
    OrderCanceled(M, A, O, "first-1", "Yes", "buy", 19_069_273, 5_000_000, "trader", "market"),
    RestingOrderFilled(M, A, O, "Yes", "buy", 5_000_000, 2_650_000, 0, (470_000, 530_000), False),
    AccountOpened(A, "Ada", "ada"),
    CashDeposited(A, 100_000_000),
    CashWithdrawn(A, 1_000_001),
    OrderReserved(A, M, O, "Yes", "buy", 2_662_500, 0),
    OrderReleased(A, M, O, "Yes", 2_662_500, 0),
    TradeSettled(A, M, O, "Yes", "buy", "taker", 19_069_273, 10_000_000, 12_500, -10_012_500, 0, 0),
    SetsSplit(A, M, ("No", "Yes"), 5_000_000),
    SetsMerged(A, M, ("No", "Yes"), 2_000_000),
    PayoutPaid(A, M, PAID, 19_069_273),
    PayoutReversed(A, M, PAID, 19_069_273),
    PositionVoided(A, M, 10_012_500),
    BondPosted(A, M, 1_000_000),
    BondReturned(A, M, 1_000_000),
    BondForfeited(A, M, 1_000_000),
    InvitationCreated("iv_class", "ab" * 32, 30, TIME + 86_400_000_000, 100_000_000),
    InvitationAccepted("iv_class", "ab" * 32, A, "key_ada", "cd" * 32),
    InvitationRevoked("iv_class", "ab" * 32),
    CommandRejected(
        "PlaceOrder",
        Code.INSUFFICIENT_FUNDS,
        "more than is available is needed",
        {"required": 10_000_000, "available": 1},
        A,
        M,
        Json(
            b'{"account_id":"ac_ada","market_id":"mk_combat","client_order_id":"first-2","outcome":"Yes","side":"buy"}'
        ),
    ),
    CommandHadNoEffect("CancelOrders", A, None, Json(b'{"account_id":"ac_ada"}')),
    CommandsRead("commands-0", 17),
    SnapshotWritten(1_204, "0f" * 32),
    FundsCarried(3, 41),
    PartitionAssigned("account", "Ada", "ada", 3, wished=True),
    BalanceOpened(A),
    FundsSent(A, 3, 42, 25_000_000, 10_000_000, 1, 250_000),
    FundsReceived(A, 1, 17, 25_000_000),
)
