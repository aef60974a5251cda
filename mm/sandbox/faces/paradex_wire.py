"""Paradex's words for what the exchange knows: REST and channel payloads, and SBE frames of public channels."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from mm.core.instrument import Instrument
from mm.sandbox.account import ClientOrder
from mm.sandbox.faces.paradex_auth import ACCOUNT_CLASS, CHAIN, PROXY_CLASS
from mm.venues.native import wire

SETTLEMENT: Final = "USDC"
MAX_VERSION: Final = 2  # of the SBE schema that is served
SIDE: Final = {"buy": "BUY", "sell": "SELL"}
_REASONS: Final = {
    "user": "USER_CANCELED",
    "post_only_would_cross": "POST_ONLY_WOULD_CROSS",
    "insufficient_margin": "NOT_ENOUGH_MARGIN",
    "insufficient_balance": "NOT_ENOUGH_MARGIN",
    "reduce_only": "REDUCE_ONLY_WILL_INCREASE",
    "ioc": "IOC_NOT_FILLED",
    "stp": "EXPIRE_TAKER",
    "liquidation": "LIQUIDATION",
}
_STATUS: Final = {"new": "NEW", "open": "OPEN", "filled": "CLOSED", "canceled": "CLOSED", "rejected": "CLOSED"}
_NULL: Final = -(1 << 63)
_MS: Final = 1_000_000
_OID_DIGITS: Final = 15


def config() -> dict[str, Any]:
    """GET /system/config."""
    return {
        "starknet_gateway_url": "http://127.0.0.1:1",
        "starknet_fullnode_rpc_url": "http://127.0.0.1:1/rpc/v0_8",
        "starknet_fullnode_rpc_base_url": "http://127.0.0.1:1",
        "starknet_chain_id": CHAIN,
        "block_explorer_url": "http://127.0.0.1:1",
        "paraclear_address": "0x1",
        "paraclear_decimals": 8,
        "paraclear_account_proxy_hash": hex(PROXY_CLASS),
        "paraclear_account_hash": hex(ACCOUNT_CLASS),
        "oracle_address": "0x2",
        "bridged_tokens": [],
        "l1_core_contract_address": "0x3",
        "l1_operator_address": "0x4",
        "l1_chain_id": "11155111",
        "liquidation_fee": "0.20",
    }


def market(
    instrument: Instrument, max_leverage: int, open_orders: int, own: tuple[Decimal, Decimal] | None
) -> dict[str, Any]:  # fmt: skip
    """One of GET /markets. Fees are the account's ``own``, else those of an account without agreements."""
    maker, taker = own or (instrument.maker_fee, instrument.taker_fee)
    fees = {"maker_fee": {"fee": text(maker)}, "taker_fee": {"fee": text(taker)}}
    return {
        "symbol": instrument.symbol,
        "base_currency": instrument.base,
        "quote_currency": instrument.quote,
        "settlement_currency": SETTLEMENT,
        "order_size_increment": text(instrument.lot_size),
        "price_tick_size": text(instrument.tick_size),
        "min_notional": text(instrument.min_notional),
        "open_at": 0,
        "expiry_at": 0,
        "asset_kind": "PERP",
        "market_kind": "cross",
        "position_limit": "1000000",
        "price_bands_width": "0.05",
        "max_slippage": "0.05",
        "max_open_orders": open_orders,
        "max_order_size": "1000000",
        "funding_period_hours": 8,
        "max_funding_rate": "0.05",
        "interest_rate": "0.0001",
        "clamp_rate": "0.05",
        "delta1_cross_margin_params": {
            "imf_base": text(Decimal(1) / max_leverage),
            "imf_factor": "0",
            "imf_shift": "0",
            "mmf_factor": "0.5",
        },
        "tags": [],
        "fee_config": {"api_fee": fees, "rpi_fee": fees, "interactive_fee": fees},
    }


def text(value: Decimal) -> str:
    """A plain decimal string without trailing zeros."""
    out = format(value, "f")
    return out.rstrip("0").rstrip(".") if "." in out else out


# --- orders and money ------------------------------------------------------------------------------------------------
def order_id(order: ClientOrder) -> str:
    """Paradex's ids are numbers of 28 digits that begin with the time."""
    return f"{order.created_ns // _MS}{order.oid:0{_OID_DIGITS}d}"


def oid_of(venue_id: str) -> int:
    """The exchange's number in an id, 0 when it is none."""
    digits = venue_id[-_OID_DIGITS:]
    return int(digits) if len(venue_id) > _OID_DIGITS and venue_id.isascii() and venue_id.isdigit() else 0


def order(o: ClientOrder, account: str, now_ns: int, *, new: bool = False, reason: str = "") -> dict[str, Any]:
    """An order as it stands, or as it stood when it came in (``new``)."""
    request, average = o.request, o.average_price
    ended = o.status != "open" and not new
    if o.market_ is not None:
        units = o.market_.units
        size, left, price = units.size(o.size_lots), units.size(o.lots), units.price(o.ticks)
    else:
        size, left, price = request.qty, request.qty, request.px
    why = reason or _REASONS.get(o.reason, o.reason.upper()) if ended and o.status != "filled" else ""
    return {
        "id": order_id(o),
        "account": account,
        "market": request.symbol,
        "side": SIDE[request.side],
        "type": "LIMIT",
        "size": size,
        "remaining_size": size if new else left,
        "price": price,
        "status": "NEW" if new else _STATUS[o.status],
        "created_at": o.created_ns // _MS,
        "last_updated_at": o.updated_ns // _MS,
        "timestamp": o.created_ns // _MS,
        "cancel_reason": why,
        "client_id": o.cid,
        "instruction": "POST_ONLY" if request.post_only else request.tif,
        "avg_fill_price": "" if average is None or new else text(average),
        "stp": "EXPIRE_TAKER",
        "received_at": o.created_ns // _MS,
        "published_at": now_ns // _MS,
        "flags": ["REDUCE_ONLY"] if request.reduce_only else [],
        "trigger_price": "0",
        "seq_no": now_ns,
    }


def fill(f: wire.Fill, o: ClientOrder | None, account: str) -> dict[str, Any]:
    """One execution."""
    return {
        "id": f"{f.ts // _MS}{f.n:0{_OID_DIGITS}d}",
        "account": account,
        "market": f.symbol,
        "side": SIDE[f.side],
        "liquidity": "MAKER" if f.maker else "TAKER",
        "price": f.px,
        "size": f.qty,
        "fee": f.fee,
        "fee_currency": SETTLEMENT,
        "order_id": "" if o is None else order_id(o),
        "client_id": "" if o is None else f.cid,
        "created_at": f.ts // _MS,
        "remaining_size": f.remaining,
        "realized_pnl": "0",
        "realized_funding": "0",
        "fill_type": "FILL" if f.oid else "LIQUIDATION",
        "underlying_price": f.px,
        "flags": [],
        "trade_id": str(f.trade_id),
    }


def position(p: wire.Position, account: str) -> dict[str, Any]:
    """What an account holds in a market; the size is signed."""
    size = Decimal(p.size)
    cost = text(size * Decimal(p.entry or 0))
    return {
        "id": f"{account}-{p.symbol}",
        "account": account,
        "market": p.symbol,
        "status": "OPEN" if size else "CLOSED",
        "side": "SHORT" if size < 0 else "LONG",
        "size": p.size,
        "average_entry_price": p.entry or "0",
        "average_entry_price_usd": p.entry or "0",
        "unrealized_pnl": p.unrealised,
        "unrealized_funding_pnl": "0",
        "cost": cost,
        "cost_usd": cost,
        "cached_funding_index": "0",
        "last_updated_at": p.ts // _MS,
        "last_fill_id": "",
        "seq_no": p.ts,
        "liquidation_price": p.liquidation or "",
        "leverage": str(p.leverage),
        "realized_positional_pnl": "0",
        "created_at": p.ts // _MS,
    }


def summary(account: str, view: wire.AccountView, now_ns: int, status: str) -> dict[str, Any]:
    """GET /account and the channel of that name."""
    return {
        "account": account,
        "initial_margin_requirement": view.initial,
        "maintenance_margin_requirement": view.maintenance,
        "account_value": view.equity,
        "total_collateral": view.balance,
        "free_collateral": view.available,
        "margin_cushion": text(Decimal(view.equity) - Decimal(view.maintenance)),
        "settlement_asset": SETTLEMENT,
        "updated_at": now_ns // _MS,
        "status": status,
        "seq_no": now_ns,
    }


def payment(p: wire.FundingPaid, account: str) -> dict[str, Any]:
    """A funding payment; the local exchange settles at once what Paradex settles with the next fill."""
    return {
        "id": f"{p.ts // _MS}{p.ts % _MS:0{_OID_DIGITS}d}",
        "account": account,
        "market": p.symbol,
        "payment": p.amount,
        "index": "0",
        "fill_id": "",
        "created_at": p.ts // _MS,
    }


def channel_frame(channel: str, data: Any) -> str:
    """A push of a channel as JSON."""
    return json.dumps(
        {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}},
        separators=(",", ":"),
    )  # fmt: skip


# --- JSON of public channels -----------------------------------------------------------------------------------------
def book_json(symbol: str, seq: int, ts: int, bids: Sequence[wire.Level], asks: Sequence[wire.Level], kind: str) -> Any:
    """A whole book (s) or changes (d)."""
    rows = [("BUY", px, qty) for px, qty in bids] + [("SELL", px, qty) for px, qty in asks]
    there = [{"side": side, "price": px, "size": qty} for side, px, qty in rows if not _is_zero(qty)]
    gone = [{"side": side, "price": px, "size": "0"} for side, px, qty in rows if _is_zero(qty)]
    return {
        "market": symbol,
        "seq_no": seq,
        "last_updated_at": ts // _MS,
        "update_type": kind,
        "inserts": there if kind == "s" else [],
        "updates": [] if kind == "s" else there,
        "deletes": gone,
    }


def trade_json(symbol: str, t: wire.Trade, ts: int) -> Any:
    """One match."""
    return {
        "id": str(t.id),
        "market": symbol,
        "side": SIDE[t.side],
        "size": t.qty,
        "price": t.px,
        "created_at": ts // _MS,
        "trade_type": "FILL",
    }


def _is_zero(qty: str) -> bool:
    return not qty.strip("0.")


# --- SBE -------------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=65_536)
def e8(value: str | Decimal) -> int:
    """An exact number of 1e-8."""
    return int(Decimal(value).scaleb(8))


def sbe_trade(symbol: str, t: wire.Trade, ts: int, version: int) -> bytes:
    """TradeEvent."""
    us = ts // 1000
    block = struct.pack("<qqqBqqqB", us, t.id, t.id, 1 if t.side == "buy" else 2, e8(t.px), e8(t.qty), us, 1)
    return _frame(1, block, _var(symbol) + (_var(str(t.id)) if version >= 2 else b""), version)


def sbe_bbo(symbol: str, seq: int, ts: int, bid: wire.Level | None, ask: wire.Level | None, version: int) -> bytes:
    """BboEvent."""
    return _frame(2, struct.pack("<qqqqqq", ts // 1000, seq, *_touch(bid), *_touch(ask)), _var(symbol), version)


def sbe_book(
    symbol: str, seq: int, ts: int, whole: bool, bids: Sequence[wire.Level], asks: Sequence[wire.Level],
    touch: tuple[wire.Level | None, wire.Level | None], version: int,
) -> bytes:  # fmt: skip
    """BookEvent: a whole book, or the levels that changed."""
    best = (*_touch(touch[0]), *_touch(touch[1]))
    block = struct.pack("<qqB9q", ts // 1000, seq, 0 if whole else 1, *best, _NULL, *best)
    return _frame(3, block, _group(bids) + _group(asks) + _var(symbol), version)


def sbe_summary(
    symbol: str, seq: int, ts: int, mark: Decimal, rate: Decimal, bid: wire.Level | None, ask: wire.Level | None,
    version: int,
) -> bytes:  # fmt: skip
    """MarketSummaryEvent; options' fields are null."""
    price = e8(mark)
    (bid_px, bid_qty), (ask_px, ask_qty) = _touch(bid), _touch(ask)
    fields = [ts // 1000, seq, price, price, price, 0, 0, e8(rate), bid_px, ask_px, 0, 0]
    fields += [_NULL] * 13 + [bid_qty, ask_qty]
    if version >= 1:
        fields += [_NULL, _NULL, int(rate.scaleb(12))]
    return _frame(4, struct.pack(f"<{len(fields)}q", *fields), _var(symbol), version)


def sbe_funding(symbol: str, seq: int, ts: int, rate: Decimal, index: Decimal, version: int) -> bytes:
    """FundingDataEvent."""
    us, r = ts // 1000, e8(rate)
    block = struct.pack("<qqqqqqqh", us, seq, r, e8(index), us, 0, r, 8)
    return _frame(5, block + (struct.pack("<q", _NULL) if version >= 1 else b""), _var(symbol), version)


def _frame(template: int, block: bytes, tail: bytes, version: int) -> bytes:
    return struct.pack("<HHHH", len(block), template, 1, version) + block + tail


def _var(value: str) -> bytes:
    raw = value.encode()
    return bytes([len(raw)]) + raw


def _group(levels: Sequence[wire.Level]) -> bytes:
    return struct.pack("<HH", 16, len(levels)) + b"".join(struct.pack("<qq", e8(px), e8(qty)) for px, qty in levels)


def _touch(level: wire.Level | None) -> tuple[int, int]:
    return (_NULL, _NULL) if level is None else (e8(level[0]), e8(level[1]))
