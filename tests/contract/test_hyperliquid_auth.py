"""Who signed: the venue's own published vectors, and every kind of action as ccxt signs it."""

from __future__ import annotations

import json
from typing import Any

import ccxt
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.sandbox.faces.hyperliquid_auth import agents, decode_request, local_keys, number, signer

SDK_KEY_ADDRESS = "0x14791697260e4c9a71f18484c9f997b308e59325"  # of the key 0x0123456789... in the SDK's tests
ORDER = {"a": 1, "b": True, "p": "100", "s": "100", "r": False, "t": {"limit": {"tif": "Gtc"}}}
CLOID = "0x00000000000000000000000000000001"


def place(**more: Any) -> dict[str, Any]:
    return {"type": "order", "orders": [ORDER | more], "grouping": "na"}


# (action, mainnet, r, s, v) with nonce 0: tests/signing_test.py of hyperliquid-python-sdk
PUBLISHED = [
    (place(), True, "0xd65369825a9df5d80099e513cce430311d7d26ddf477f5b3a33d2806b100d78e",
     "0x2b54116ff64054968aa237c20ca9ff68000f977c93289157748a3162b6ea940e", 28),
    (place(), False, "0x82b2ba28e76b3d761093aaded1b1cdad4960b3af30212b343fb2e6cdfa4e3d54",
     "0x6b53878fc99d26047f4d7e8c90eb98955a109f44209163f52d8dc4278cbbd9f5", 27),
    (place(c=CLOID), True, "0x41ae18e8239a56cacbc5dad94d45d0b747e5da11ad564077fcac71277a946e3",
     "0x3c61f667e747404fe7eea8f90ab0e76cc12ce60270438b2058324681a00116da", 27),
    (place(c=CLOID), False, "0xeba0664bed2676fc4e5a743bf89e5c7501aa6d870bdb9446e122c9466c5cd16d",
     "0x7f3e74825c9114bc59086f1eebea2928c190fdfbfde144827cb02b85bbe90988", 28),
    ({"type": "scheduleCancel"}, True, "0x6cdfb286702f5917e76cd9b3b8bf678fcc49aec194c02a73e6d4f16891195df9",
     "0x6557ac307fa05d25b8d61f21fb8a938e703b3d9bf575f6717ba21ec61261b2a0", 27),
    ({"type": "scheduleCancel", "time": 123456789}, True,
     "0x609cb20c737945d070716dcc696ba030e9976fcf5edad87afa7d877493109d55",
     "0x16c685d63b5c7a04512d73f183b3d7a00da5406ff1f8aad33f8ae2163bab758b", 28),
]  # fmt: skip


@pytest.mark.parametrize(("action", "mainnet", "r", "s", "v"), PUBLISHED)
def test_published_vectors(action: Any, mainnet: bool, r: str, s: str, v: int) -> None:
    body = {"action": action, "nonce": 0, "signature": {"r": r, "s": s, "v": v}}
    request = decode_request(json.dumps(body).encode())
    assert signer(request, mainnet=mainnet) == SDK_KEY_ADDRESS
    assert signer(request, mainnet=not mainnet) != SDK_KEY_ADDRESS


cloids = st.binary(min_size=16, max_size=16).map(lambda raw: f"0x{raw.hex()}")
prices = st.integers(1, 10**9).map(lambda n: number(f"{n / 10_000:.4f}"))
orders = st.builds(
    lambda a, b, p, s, r, tif, c: {"a": a, "b": b, "p": p, "s": s, "r": r, "t": {"limit": {"tif": tif}}} | c,
    st.integers(0, 10**6), st.booleans(), prices, prices, st.booleans(), st.sampled_from(["Alo", "Ioc", "Gtc"]),
    st.one_of(st.just({}), cloids.map(lambda c: {"c": c})),
)  # fmt: skip
oids = st.one_of(st.integers(0, 2**40), cloids)
actions = st.one_of(
    st.lists(orders, min_size=1, max_size=3).map(lambda o: {"type": "order", "orders": o, "grouping": "na"}),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 2**40)), max_size=3).map(
        lambda rows: {"type": "cancel", "cancels": [{"a": a, "o": o} for a, o in rows]}
    ),
    st.lists(cloids, max_size=3).map(
        lambda rows: {"type": "cancelByCloid", "cancels": [{"asset": 1, "cloid": c} for c in rows]}
    ),
    st.builds(lambda oid, o: {"type": "modify", "oid": oid, "order": o}, oids, orders),
    st.builds(lambda oid, o: {"type": "batchModify", "modifies": [{"oid": oid, "order": o}]}, oids, orders),
    st.builds(
        lambda a, c, v: {"type": "updateLeverage", "asset": a, "isCross": c, "leverage": v},
        st.integers(0, 99), st.booleans(), st.integers(1, 50),
    ),
    st.builds(lambda t: {"type": "scheduleCancel", "time": t}, st.integers(0, 2**41)),
    st.sampled_from([{"type": "scheduleCancel"}, {"type": "setReferrer", "code": "CCXT1"}, {"type": "noop"}]),
)  # fmt: skip
KEYS = local_keys("token-of-a")
STOCK = ccxt.hyperliquid({"privateKey": KEYS["private_key"], "walletAddress": KEYS["wallet_address"]})


@given(actions, st.integers(1_600_000_000_000, 1_900_000_000_000), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_action_recovers_to_the_agent(action: Any, nonce: int, vault: bool, expires: bool) -> None:
    """And to somebody else when the vault, the expiry or the nonce is not what was signed."""
    where = {"vaultAddress": "0x" + "cD" * 20} if vault else {}
    when = {"expiresAfter": nonce + 1} if expires else {}
    signature = STOCK.sign_l1_action(action, nonce, "cd" * 20 if vault else None, nonce + 1 if expires else None)
    body = {"action": action, "nonce": nonce, "signature": signature, **where, **when}
    agent = agents("token-of-a")[0]
    assert signer(decode_request(json.dumps(body).encode())) == agent
    others = [{**body, "nonce": nonce + 1}, {**body, "expiresAfter": nonce + 2}]
    others.append(
        {k: v for k, v in body.items() if k != "vaultAddress"} if vault else {**body, "vaultAddress": CLOID + "0" * 8}
    )
    for other in others:
        assert signer(decode_request(json.dumps(other).encode())) != agent


@pytest.mark.parametrize(
    "body",
    [
        {"type": "order", "orders": [], "grouping": "na"},
        {"type": "order", "orders": [{**ORDER, "x": 1}], "grouping": "na"},
        {"type": "order", "orders": [{**ORDER, "p": "-1"}], "grouping": "na"},
        {"type": "order", "orders": [{**ORDER, "p": "1e3"}], "grouping": "na"},
        {"type": "order", "orders": [{**ORDER, "c": "RM-1"}], "grouping": "na"},
        {"type": "order", "orders": [{**ORDER, "t": {"limit": {"tif": "Fok"}}}], "grouping": "na"},
        {"type": "order", "orders": [ORDER], "grouping": "positionTpsl"},
        {"type": "usdSend"},
        {},
        7,
    ],
)
def test_what_is_no_action(body: Any) -> None:
    raw = json.dumps({"action": body, "nonce": 0, "signature": {"r": "0x1", "s": "0x1", "v": 27}}).encode()
    with pytest.raises(msgspec.ValidationError):
        decode_request(raw)


def test_keys_of_local_accounts() -> None:
    keys = [local_keys("token-of-a", agent)["private_key"] for agent in range(4)]
    assert len({*keys, *agents("token-of-b"), *agents("token-of-a")}) == 12
    assert local_keys("token-of-a") == local_keys("token-of-a", 0)
    addresses = [ccxt.hyperliquid.eth_get_address_from_private_key(key).lower() for key in keys]
    assert addresses == agents("token-of-a")
