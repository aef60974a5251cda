"""Hyperliquid's WebSocket frames and REST rows as types: what the codec reads and what the client asks for.

Field names are the venue's. Prices and sizes are decimal strings, times milliseconds since the epoch.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec

Millis = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000)]
Whole = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Side = Literal["B", "A"]  # bid, ask; of a trade: the aggressor's
SIDE_SIGN: Final[dict[str, int]] = {"B": 1, "A": -1}
SIDE_CODE: Final[dict[int, Side]] = {1: "B", -1: "A"}


class Level(msgspec.Struct):
    """One price of a book."""

    px: str
    sz: str


class Book(msgspec.Struct):
    """The twenty best levels of both sides."""

    coin: str
    time: Millis
    levels: tuple[list[Level], list[Level]]


class Bbo(msgspec.Struct):
    """The best level of both sides."""

    coin: str
    time: Millis
    bbo: tuple[Level | None, Level | None]


class Trade(msgspec.Struct):
    """One match. ``tid`` is no sequence number."""

    coin: str
    side: Side
    px: str
    sz: str
    time: Millis
    tid: Whole


class AssetCtx(msgspec.Struct):
    """What the venue says of a perpetual: the rate is that of the current hour."""

    markPx: str  # noqa: N815  the wire's names, here and below
    funding: str = "0"


class ActiveAssetCtx(msgspec.Struct):
    """A new context."""

    coin: str
    ctx: AssetCtx


class BasicOrder(msgspec.Struct):
    """``sz`` is what is still open."""

    coin: str
    side: Side
    limitPx: str  # noqa: N815
    sz: str
    oid: Whole
    timestamp: Millis
    origSz: str = ""  # noqa: N815
    cloid: str | None = None


class OrderUpdate(msgspec.Struct):
    """What became of an order."""

    order: BasicOrder
    status: str
    statusTimestamp: Millis  # noqa: N815


class Liquidation(msgspec.Struct):
    """Part of a fill that was a liquidation."""

    liquidatedUser: str = ""  # noqa: N815
    method: str = ""


class Fill(msgspec.Struct):
    """One execution. ``crossed``: it took; a negative fee is a rebate."""

    coin: str
    px: str
    sz: str
    side: Side
    time: Millis
    oid: Whole
    crossed: bool
    fee: str
    tid: Whole
    cloid: str | None = None
    liquidation: Liquidation | None = None


class UserFills(msgspec.Struct):
    """Executions; the first message after subscribing is the recent past."""

    fills: list[Fill]
    user: str = ""
    isSnapshot: bool = False  # noqa: N815


class Funding(msgspec.Struct):
    """A settlement: ``usdc`` was received (negative: paid)."""

    time: Millis
    coin: str
    usdc: str


class LiquidationEvent(msgspec.Struct):
    """Somebody was liquidated and we were on one of its sides."""

    liquidator: str = ""
    liquidated_user: str = ""
    liquidated_ntl_pos: str = "0"
    liquidated_account_value: str = "0"


class NonUserCancel(msgspec.Struct):
    """An order that the venue cancelled; ``orderUpdates`` says the same."""

    coin: str
    oid: Whole


class UserEvent(msgspec.Struct):
    """One of these; fills are taken from ``userFills``."""

    funding: Funding | None = None
    liquidation: LiquidationEvent | None = None
    nonUserCancel: list[NonUserCancel] | None = None  # noqa: N815


class PerpPosition(msgspec.Struct):
    """Signed size in base."""

    coin: str
    szi: str
    entryPx: str | None = None  # noqa: N815
    unrealizedPnl: str = "0"  # noqa: N815


class AssetPosition(msgspec.Struct):
    """One position."""

    position: PerpPosition


class MarginSummary(msgspec.Struct):
    """``accountValue`` includes unrealised profit."""

    accountValue: str  # noqa: N815


class Clearinghouse(msgspec.Struct):
    """Positions and money of an account."""

    marginSummary: MarginSummary  # noqa: N815
    assetPositions: list[AssetPosition]  # noqa: N815
    time: Millis = 0


class ClearinghouseEvent(msgspec.Struct):
    """A new state of an account."""

    clearinghouseState: Clearinghouse  # noqa: N815
    user: str = ""


class Subscription(msgspec.Struct):
    """Which stream."""

    type: str
    coin: str = ""


class SubscriptionAnswer(msgspec.Struct):
    """The venue repeats what was asked of it."""

    method: str
    subscription: Subscription


# --- frames -----------------------------------------------------------------------------------------------------------
class Frame(msgspec.Struct, tag_field="channel"):
    """Base of every frame."""


class L2BookFrame(Frame, tag="l2Book"):
    """A whole book."""

    data: Book


class BboFrame(Frame, tag="bbo"):
    """A touch."""

    data: Bbo


class TradesFrame(Frame, tag="trades"):
    """Matches, newest last."""

    data: list[Trade]


class AssetCtxFrame(Frame, tag="activeAssetCtx"):
    """Mark and funding rate."""

    data: ActiveAssetCtx


class OrderUpdatesFrame(Frame, tag="orderUpdates"):
    """States of our orders."""

    data: list[OrderUpdate]


class UserFillsFrame(Frame, tag="userFills"):
    """Executions of our orders."""

    data: UserFills


class UserEventFrame(Frame, tag="user"):
    """Funding, liquidation and the like."""

    data: UserEvent


class ClearinghouseFrame(Frame, tag="clearinghouseState"):
    """Positions and money."""

    data: ClearinghouseEvent


class SubscriptionFrame(Frame, tag="subscriptionResponse"):
    """A subscription begins or ends."""

    data: SubscriptionAnswer


class PongFrame(Frame, tag="pong"):
    """The answer to our ping."""


class ErrorFrame(Frame, tag="error"):
    """The venue did not understand us."""

    data: str


AnyFrame = (
    L2BookFrame
    | BboFrame
    | TradesFrame
    | AssetCtxFrame
    | OrderUpdatesFrame
    | UserFillsFrame
    | UserEventFrame
    | ClearinghouseFrame
    | SubscriptionFrame
    | PongFrame
    | ErrorFrame
)


# --- answers to our requests ------------------------------------------------------------------------------------------
class Resting(msgspec.Struct):
    """It rests."""

    oid: Whole
    cloid: str | None = None


class Filled(msgspec.Struct):
    """It traded at once."""

    oid: Whole
    totalSz: str  # noqa: N815
    avgPx: str = "0"  # noqa: N815


class Status(msgspec.Struct):
    """What became of one order of a request."""

    resting: Resting | None = None
    filled: Filled | None = None
    error: str | None = None


class OrderInfo(msgspec.Struct):
    """The inner part of an answer to ``orderStatus``."""

    order: BasicOrder
    status: str
    statusTimestamp: Millis = 0  # noqa: N815


class OrderAnswer(msgspec.Struct):
    """The answer to ``orderStatus``: "order" or "unknownOid"."""

    status: str
    order: OrderInfo | None = None


class FundingDelta(msgspec.Struct):
    """A settlement in the history."""

    coin: str
    usdc: str


class FundingRow(msgspec.Struct):
    """One row of ``userFunding``."""

    time: Millis
    delta: FundingDelta


class UserFees(msgspec.Struct):
    """Fee rates of an account."""

    userCrossRate: str  # noqa: N815
    userAddRate: str  # noqa: N815


class ExchangeStatus(msgspec.Struct):
    """The venue's clock."""

    time: Millis


class AgentOf(msgspec.Struct):
    """Whose agent an address is."""

    user: str = ""


class UserRole(msgspec.Struct):
    """What an address is: user, agent, vault, subAccount or missing."""

    role: str
    data: AgentOf | None = None


class PerpMeta(msgspec.Struct):
    """One perpetual; its index in the universe is its asset number."""

    name: str
    szDecimals: Annotated[int, msgspec.Meta(ge=0, le=6)]  # noqa: N815
    maxLeverage: int = 1  # noqa: N815
    isDelisted: bool = False  # noqa: N815


class Meta(msgspec.Struct):
    """All perpetuals."""

    universe: list[PerpMeta]


def balance_of(state: Clearinghouse) -> Decimal:
    """Money of an account without unrealised profit; raises ``ArithmeticError`` for what is no number."""
    unrealised = (Decimal(p.position.unrealizedPnl) for p in state.assetPositions)
    return Decimal(state.marginSummary.accountValue) - sum(unrealised, Decimal(0))
