"""Hyperliquid's rules for prices and for client order ids. Pure.

**Prices.** At most five significant figures and at most ``6 - szDecimals`` decimals; whole dollars are always allowed.
The grid follows the price level, an ``Instrument`` has one ``tick_size``. It is the grid at the mark price when the
instrument is loaded. When the level rises through a power of ten, the venue's grid becomes coarser than the tick:
``price_allowed`` then says no to what the venue would refuse. When it falls, the venue's grid becomes finer: our prices
stay valid, and the codec counts the finer levels of the book to the tick behind them.

**Client order ids.** The venue takes 128 bits in hex (cloid). ``PREFIX-123`` becomes

    1 byte   0xA0 + length of PREFIX (1 to 10)
    10 bytes PREFIX in ASCII, zeros behind it
    5 bytes  123, big endian

and back without knowing the prefix, so that whatever asks the venue finds the same ids as whoever sent them. An order
with another cloid is called by that cloid, one without by ``oid:123`` (the venue's number).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from mm.errors import ConfigError

SIGNIFICANT: Final = 5
DECIMALS: Final = 6  # of a perpetual's price, less szDecimals
MIN_NOTIONAL: Final = Decimal(10)
MAX_PREFIX: Final = 10
_MARK: Final = 0xA0
_MAX_NUMBER: Final = (1 << 40) - 1
_OWN: Final = re.compile(r"([ -~]{1,10})-(0|[1-9]\d{0,12})", re.ASCII)
_CLOID: Final = re.compile(r"0x[0-9a-fA-F]{32}", re.ASCII)
_BY_OID: Final = re.compile(r"oid:(\d{1,18})", re.ASCII)


def sz_decimals(lot_size: Decimal) -> int:
    """szDecimals of a lot size (a power of ten)."""
    return max(0, -lot_size.adjusted())


def tick_at(price: Decimal, decimals: int) -> Decimal:
    """The step of valid prices at a price level; ``decimals`` is szDecimals."""
    return Decimal(1).scaleb(-max(0, min(DECIMALS - decimals, SIGNIFICANT - 1 - price.adjusted())))


def price_allowed(price: Decimal, decimals: int) -> bool:
    """Whether the venue takes a price; ``decimals`` is szDecimals."""
    if price <= 0:
        return False
    if price == price.to_integral_value():
        return True
    _, digits, exponent = price.normalize().as_tuple()
    return len(digits) <= SIGNIFICANT and -int(exponent) <= DECIMALS - decimals


def to_cloid(client_order_id: str) -> str:
    """The cloid of ``PREFIX-123``; a cloid stays what it is. Raises ``ConfigError``."""
    if _CLOID.fullmatch(client_order_id):
        return client_order_id.lower()
    found = _OWN.fullmatch(client_order_id)
    if found is None or int(found[2]) > _MAX_NUMBER:
        raise ConfigError(
            f"hyperliquid: client order id {client_order_id!r} does not fit into 128 bits; expected PREFIX-NUMBER "
            f"with a prefix of at most {MAX_PREFIX} ASCII characters and a number below 2^40"
        )
    prefix = found[1].encode("ascii")
    packed = bytes([_MARK + len(prefix)]) + prefix.ljust(MAX_PREFIX, b"\0") + int(found[2]).to_bytes(5, "big")
    return f"0x{packed.hex()}"


def from_cloid(cloid: str | None, oid: int) -> str:
    """The client order id of an order: ``PREFIX-123`` when it is one of ours, else its cloid, else ``oid:...``."""
    if not cloid:
        return f"oid:{oid}"
    if not _CLOID.fullmatch(cloid):
        return cloid
    packed = bytes.fromhex(cloid[2:])
    length = packed[0] - _MARK
    if 1 <= length <= MAX_PREFIX and not any(packed[1 + length : 1 + MAX_PREFIX]):
        prefix = packed[1 : 1 + length]
        if all(32 <= byte < 127 for byte in prefix):
            return f"{prefix.decode('ascii')}-{int.from_bytes(packed[11:], 'big')}"
    return cloid.lower()


def venue_number(client_order_id: str) -> int | None:
    """The venue's number in ``oid:123``, None for any other id."""
    found = _BY_OID.fullmatch(client_order_id)
    return int(found[1]) if found else None
