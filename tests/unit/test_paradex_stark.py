"""Hashes and signatures of Paradex messages equal the library's, bit for bit."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paradex_py.account.subkey_account import SubkeyAccount
from paradex_py.account.typed_data import TypedData
from paradex_py.account.utils import derive_l2_address_starknet
from paradex_py.common.order import Order, OrderSide, OrderType
from paradex_py.message.auth import build_auth_message
from paradex_py.message.onboarding import build_onboarding_message

from mm.venues.paradex.stark import (
    Messages,
    OrderSigner,
    account_address,
    is_signed,
    public_key,
    short_text,
)

CHAIN = "PRIVATE_SN_POTC_SEPOLIA"
CONFIG: Any = SimpleNamespace(
    starknet_fullnode_rpc_url="http://127.0.0.1:1",
    starknet_chain_id=CHAIN,
    paraclear_account_proxy_hash="0x3530cc4759d78042f1b543bf797f5f3d647cde0388c33734cf91b7f7b9314a9",
    paraclear_account_hash="0x41cb0280ebadaa75f996d8d92c6f265f6d040bb3ba442e5f86a554f1765244e",
)
KEY = 0x1234567890ABCDEF1234567890ABCDEF
ADDRESS = derive_l2_address_starknet(CONFIG, public_key(KEY))
MESSAGES = Messages(CHAIN, ADDRESS)
ACCOUNT = SubkeyAccount(CONFIG, hex(KEY), hex(ADDRESS))


def test_the_address_of_an_account() -> None:
    ours = account_address(
        public_key(KEY), int(CONFIG.paraclear_account_proxy_hash, 16), int(CONFIG.paraclear_account_hash, 16)
    )
    assert ours == ADDRESS


def test_log_in_and_onboarding() -> None:
    def theirs(message: Any) -> int:
        return TypedData.from_dict(message).message_hash(ADDRESS)

    assert MESSAGES.auth(1_790_000_000, 1_790_086_400) == theirs(
        build_auth_message(ACCOUNT.l2_chain_id, 1_790_000_000, 1_790_086_400)
    )
    assert MESSAGES.onboarding() == theirs(build_onboarding_message(ACCOUNT.l2_chain_id))


@settings(max_examples=25, deadline=None)
@given(
    side=st.sampled_from([OrderSide.Buy, OrderSide.Sell]),
    size=st.integers(1, 10**13),
    price=st.integers(1, 10**15),
    stamp=st.integers(1, 2**42),
    order_id=st.none() | st.integers(1, 10**29),
)
def test_orders_and_changes(side: OrderSide, size: int, price: int, stamp: int, order_id: int | None) -> None:
    order = Order(
        "BTC-USD-PERP", OrderType.Limit, side, Decimal(size).scaleb(-8), Decimal(price).scaleb(-8), client_id="c-1",
        signature_timestamp=stamp, instruction="POST_ONLY", order_id=None if order_id is None else str(order_id),
    )  # fmt: skip
    unsigned = order.dump_to_dict()
    signed = OrderSigner(KEY, MESSAGES).sign_order(unsigned)
    assert signed["signature"] == ACCOUNT.sign_order(order)
    assert {**signed, "signature": ""} == unsigned
    digest = MESSAGES.order(
        stamp, "BTC-USD-PERP", side.value, "LIMIT", order.size, order.limit_price, unsigned.get("id", "")
    )
    r, s = (int(part) for part in signed["signature"][2:-2].split('","'))
    assert is_signed(public_key(KEY), digest, r, s)
    assert not is_signed(public_key(KEY), digest + 1, r, s)
    assert not is_signed(public_key(KEY + 1), digest, r, s)


def test_a_batch_and_a_market_order() -> None:
    orders = [
        Order("ETH-USD-PERP", OrderType.Market, OrderSide.Sell, Decimal("0.5"), signature_timestamp=7),
        Order("ETH-USD-PERP", OrderType.Limit, OrderSide.Sell, Decimal("0.5"), Decimal(9), signature_timestamp=8),
    ]
    signed = OrderSigner(KEY, MESSAGES).sign_batch([o.dump_to_dict() for o in orders])
    assert [one["signature"] for one in signed] == [ACCOUNT.sign_order(o) for o in orders]


def test_texts_and_secrets() -> None:
    with pytest.raises(ValueError, match="short string"):
        short_text("x" * 32)
    with pytest.raises(ValueError, match="short string"):
        short_text("é")
    assert f"{KEY:x}" not in repr(OrderSigner(KEY, MESSAGES))
