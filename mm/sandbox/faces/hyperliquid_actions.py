"""POST /exchange: signed actions of an account, and the rules that stand before them.

An order is known to the exchange by its cloid, or by a name of ours when it has none. A modified order is, as on the
venue, a new order under the same cloid: the exchange knows it as ``cloid#2``, ``cloid#3``.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec

from mm.sandbox.account import KEPT_ORDERS, Account, ClientOrder
from mm.sandbox.exchange import Exchange, Refused
from mm.sandbox.faces import hyperliquid_auth as auth
from mm.sandbox.faces import hyperliquid_wire as hl
from mm.venues.hyperliquid.rules import price_allowed, sz_decimals
from mm.venues.native import wire

MIN_LEAD_MS: Final = 5_000  # of scheduleCancel
FREE_ACTIONS: Final = 10_000  # of an address; then one more per USDC traded
_NONCES: Final = 100  # that are remembered per signer
_DAY_MS: Final = 86_400_000
_TIF: Final[dict[str, Any]] = {"Gtc": "GTC", "Alo": "GTC", "Ioc": "IOC"}


class Actions:
    """State of the exchange endpoint. ``clock_ns``: the exchange's; ``skewed_ns``: the one it tells the world."""

    def __init__(self, exchange: Exchange, clock_ns: Callable[[], int], skewed_ns: Callable[[], int]) -> None:
        self.exchange = exchange
        self.symbols = [i.symbol for i in exchange.instruments]
        self.decimals = [sz_decimals(i.lot_size) for i in exchange.instruments]
        self.signers: dict[str, Account] = {}
        self.users: dict[str, Account] = {}
        self.address: dict[str, str] = {}  # account name -> address
        for token, account in exchange.accounts.items():
            own = auth.address(token)
            self.users[own] = account
            self.address[account.name] = own
            self.signers.update(dict.fromkeys([own, *auth.agents(token)], account))
        self.required_volume_usd = Decimal(0)  # for scheduleCancel; the venue asks for 1,000,000
        self.volume_usd: dict[str, Decimal] = {}
        self.counts = dict.fromkeys(("actions", "builder_fees", "referrers", "bad_signatures"), 0)
        self._clock_ns = clock_ns
        self._skewed_ns = skewed_ns
        self._nonces: dict[str, list[int]] = {}
        self.used: dict[str, int] = {}
        self._latest: dict[tuple[str, str], str] = {}  # (account, cloid) -> the exchange's name of the order
        self._made = 0
        self._cross: set[tuple[str, str]] = set()  # (account, coin) that asked for cross margin

    # --- who and whether ---------------------------------------------------------------------------------------------
    def identify(self, request: auth.Request) -> tuple[Account | None, str]:
        """(whose action it is, or why it is refused)."""
        who = auth.signer(request)
        account = self.signers.get(who or "")
        if account is None:
            self.counts["bad_signatures"] += 1
            words = "Unable to recover signer." if who is None else f"User or API Wallet {who} does not exist."
            return None, words
        if request.vaultAddress is not None:
            return None, f"Vault not registered: {request.vaultAddress}"
        now_ms = self._skewed_ns() // 1_000_000
        if request.expiresAfter is not None and request.expiresAfter < now_ms:
            return None, "Action already expired"
        assert who is not None
        return account, self._nonce(who, request.nonce, now_ms)

    def _nonce(self, who: str, nonce: int, now_ms: int) -> str:
        """The hundred highest nonces of a signer are remembered; a new one must not be below all of them."""
        seen = self._nonces.setdefault(who, [])
        if nonce in seen:
            return f"Invalid nonce: duplicate nonce {nonce}"
        least = max(now_ms - 2 * _DAY_MS, seen[0] if len(seen) >= _NONCES else 0)
        if nonce < least:
            return f"Invalid nonce: nonce too low {nonce} < {least}"
        if nonce > now_ms + _DAY_MS:
            return f"Invalid nonce: nonce too high {nonce} > {now_ms + _DAY_MS}"
        seen.append(nonce)
        seen.sort()
        del seen[:-_NONCES]
        return ""

    @staticmethod
    def weight(action: auth.Action) -> int:
        """Of a request, by the size of its batch."""
        match action:
            case auth.PlaceOrders(orders):
                return 1 + len(orders) // 40
            case auth.Cancel(cancels) | auth.CancelByCloid(cancels):
                return 1 + len(cancels) // 40
            case auth.BatchModify(modifies):
                return 1 + len(modifies) // 40
            case _:
                return 1

    def _over_limit(self, account: Account, action: auth.Action) -> str:
        """The limit of an address: so many actions free, then one per USDC traded; cancels have more room."""
        volume = self.volume_usd.get(account.name, Decimal(0))
        limit = FREE_ACTIONS + int(volume)
        if isinstance(action, auth.Cancel | auth.CancelByCloid):
            limit = min(limit + 100_000, 2 * limit)
        used = self.used[account.name] = self.used.get(account.name, 0) + 1
        if used <= limit:
            return ""
        return (
            f"Too many cumulative requests sent ({used} > {limit}) for cumulative volume traded ${volume:.2f}. "
            "Place taker orders to free up 1 request per USDC traded."
        )

    # --- what ---------------------------------------------------------------------------------------------------------
    def execute(self, account: Account, action: auth.Action) -> dict[str, Any]:
        """Do it; returns the body of the answer."""
        self.counts["actions"] += 1
        refusal = self._over_limit(account, action)
        if refusal:
            return _err(refusal)
        match action:
            case auth.PlaceOrders():
                return self._place(account, action)
            case auth.Cancel(cancels):
                return _ok("cancel", [self._cancel(account, c.a, account.by_oid(c.o)) for c in cancels])
            case auth.CancelByCloid(cancels):
                found = [(c.asset, self.by_cloid(account, c.cloid)) for c in cancels]
                return _ok("cancel", [self._cancel(account, asset, order) for asset, order in found])
            case auth.BatchModify(modifies):
                return _ok("order", [self._modify(account, m.oid, m.order) for m in modifies])
            case _:
                return self._other(account, action)

    def _other(self, account: Account, action: auth.Action) -> dict[str, Any]:
        match action:
            case auth.Modify(oid, order):
                status = self._modify(account, oid, order)
                return _err(status["error"]) if "error" in status else _default()
            case auth.UpdateLeverage():
                return self._update_leverage(account, action)
            case auth.ScheduleCancel(time):
                return self._schedule(account, time)
            case auth.SetReferrer():
                self.counts["referrers"] += 1
            case auth.ApproveBuilderFee():
                self.counts["builder_fees"] += 1
                return _err("Builder fees are not approved here.")
            case _:
                pass
        return _default()

    # --- orders -------------------------------------------------------------------------------------------------------
    def _place(self, account: Account, action: auth.PlaceOrders) -> dict[str, Any]:
        if action.builder is not None:
            self.counts["builder_fees"] += 1
            return _err("Builder fee has not been approved.")
        return _ok("order", [self._place_one(account, order, order.c) for order in action.orders])

    def _place_one(self, account: Account, order: auth.Order, cloid: str | None, name: str = "") -> dict[str, Any]:
        """The status of one order; ``name`` under which the exchange shall know it."""
        asset = order.a
        if asset >= len(self.symbols):
            return {"error": f"Unknown asset. asset={asset}"}
        symbol, price, size = self.symbols[asset], Decimal(order.p), Decimal(order.s)
        market = self.exchange.markets[symbol]
        if not price_allowed(price, self.decimals[asset]):
            return {"error": hl.refusal("bad_px", asset, market)}
        if size == 0:
            return {"error": f"{hl.ZERO_SIZE} asset={asset}"}
        if cloid is not None and not name and (account.name, cloid) in self._latest:
            return {"error": hl.refusal("duplicate_cid", asset, market)}
        if not name:
            self._made += 1
            name = cloid or f"oid-{self._made}"
        request = wire.Place(
            symbol=symbol,
            cid=name,
            side="buy" if order.b else "sell",
            px=order.p,
            qty=order.s,
            post_only=order.t.limit.tif == "Alo",
            tif=_TIF[order.t.limit.tif],
            reduce_only=order.r,
        )
        made = self.exchange.place(account, request, self._clock_ns())
        if cloid is not None and made.oid:
            self._latest[account.name, cloid] = name
            if len(self._latest) > KEPT_ORDERS:
                del self._latest[next(iter(self._latest))]
        return self._status(made, asset, cloid)

    def _status(self, made: ClientOrder, asset: int, cloid: str | None) -> dict[str, Any]:
        more = {} if cloid is None else {"cloid": cloid}
        if made.status == "rejected":
            market = self.exchange.markets[self.symbols[asset]]
            return {"error": hl.refusal(made.reason, asset, market)}
        if made.status == "open":
            return {"resting": {"oid": made.oid, **more}}
        if not made.filled_lots:
            return {"error": f"{hl.NO_MATCH} asset={asset}"}
        average = made.average_price
        filled = {"totalSz": hl.num(made.market.units.size(made.filled_lots)), "avgPx": hl.usd(average or Decimal(0))}
        return {"filled": {**filled, "oid": made.oid, **more}}

    def by_cloid(self, account: Account, cloid: str) -> ClientOrder | None:
        """The newest order under a cloid."""
        return account.orders.get(self._latest.get((account.name, cloid.lower()), ""))

    def by_any(self, account: Account, oid: int | str) -> ClientOrder | None:
        """An order by number or cloid."""
        return account.by_oid(oid) if isinstance(oid, int) else self.by_cloid(account, oid)

    def _cancel(self, account: Account, asset: int, order: ClientOrder | None) -> Any:
        if order is None or order.status != "open" or self.symbols[asset : asset + 1] != [order.request.symbol]:
            return {"error": f"{hl.GONE} asset={asset}"}
        self.exchange.cancel(account, order.cid, self._clock_ns())
        return "success"

    def _modify(self, account: Account, oid: int | str, new: auth.Order) -> dict[str, Any]:
        """Cancel and place: when the second fails the first has happened all the same."""
        old = self.by_any(account, oid)
        if old is None or old.status != "open":
            return {"error": hl.NO_MODIFY}
        cloid = new.c if new.c is not None else hl.cloid_of(old.cid)
        self.exchange.cancel(account, old.cid, self._clock_ns())
        self._made += 1
        status = self._place_one(account, new, cloid, f"{cloid or 'oid'}#{self._made}")
        if "error" in status:
            return {"error": hl.MODIFY_FAILED + status["error"]}
        return status

    # --- the account --------------------------------------------------------------------------------------------------
    def _update_leverage(self, account: Account, action: auth.UpdateLeverage) -> dict[str, Any]:
        """Margin is isolated in any case; what kind was asked for is remembered and shown."""
        if action.asset >= len(self.symbols):
            return _err("Invalid leverage value")
        coin = self.symbols[action.asset]
        if account.ledgers[coin].lots and self.is_cross(account, coin) != action.isCross:
            return _err("Cannot switch leverage type with open position.")
        try:
            self.exchange.set_leverage(account, coin, action.leverage)
        except Refused as exc:
            return _err(hl.NO_MARGIN_LEFT if exc.code == "insufficient_margin" else "Invalid leverage value")
        (self._cross.add if action.isCross else self._cross.discard)((account.name, coin))
        return _default()

    def is_cross(self, account: Account, coin: str) -> bool:
        """Whether the account asked for cross margin."""
        return (account.name, coin) in self._cross

    def _schedule(self, account: Account, time_ms: int | None) -> dict[str, Any]:
        traded = self.volume_usd.get(account.name, Decimal(0))
        if traded < self.required_volume_usd:
            return _err(
                "Cannot set scheduled cancel time until enough volume traded. "
                f"Required: ${self.required_volume_usd}. Traded: ${traded.normalize():f}."
            )
        now_ns = self._skewed_ns()
        if time_ms is not None and time_ms * 1_000_000 < now_ns + MIN_LEAD_MS * 1_000_000:
            return _err(hl.TOO_EARLY)
        timeout_s = 0.0 if time_ms is None else (time_ms * 1_000_000 - now_ns) * 1e-9
        self.exchange.arm(account, timeout_s, self._clock_ns())
        return _default()

    def traded(self, account: Account, fill: wire.Fill) -> None:
        """Count the volume of an account."""
        usd = Decimal(fill.px) * Decimal(fill.qty)
        self.volume_usd[account.name] = self.volume_usd.get(account.name, Decimal(0)) + usd


def parse(body: bytes | Any) -> auth.Request | None:
    """A signed request from a body or a WebSocket payload; None when it is none."""
    try:
        return auth.decode_request(body) if isinstance(body, bytes) else msgspec.convert(body, auth.Request)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _ok(kind: str, statuses: list[Any]) -> dict[str, Any]:
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": statuses}}}


def _default() -> dict[str, Any]:
    return {"status": "ok", "response": {"type": "default"}}


def _err(words: str) -> dict[str, Any]:
    return {"status": "err", "response": words}
