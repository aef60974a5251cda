"""Which orders a wallet covers, by hand: isolated margin, reversals, inverse contracts, spot."""

import dataclasses
from decimal import Decimal

import pytest

from mm.config.schema import RunConfig
from mm.core.types import records
from mm.data.synth import SynthSpec
from mm.strategy.margin import MARGIN, covered
from mm.strategy.portfolio import apply_fill, average_entry, fee_e8
from mm.strategy.setup import resolve

TICK = 500_000  # 50,000 quote; 2 lots of 0.001 are 100


class Account:
    def __init__(self, kind="linear", wallet=100.0, leverage=10.0, fee="0 bps"):
        i = dataclasses.replace(SynthSpec().instrument, kind=kind, min_notional=Decimal(0))
        if kind == "inverse":  # contracts of 10 USD
            i = dataclasses.replace(i, lot_size=Decimal(1), contract_value=Decimal(10))
        cfg = RunConfig.model_validate({"strategy": {"order_size": "100 usd"}, "sim": {"maker_fee": fee}})
        r = resolve(cfg, i, 50_000.0)
        self.p, self.s, self.z = r.params[0], r.state[0], records(1, MARGIN)[0]
        self.z.tiers, self.z.wallet, self.z.leverage = 1, wallet, leverage
        self.z.entry = TICK

    def fill(self, side, tick, lots):
        self.z.entry = average_entry(self.p, self.z.entry, self.s.pos_lots, side, tick, lots)
        apply_fill(self.s, self.p, side, tick, lots, True, fee_e8(self.p, tick, lots, True))
        return self

    def most(self, side, tick=TICK):
        """The largest order that is covered."""
        sizes = [n for n in range(1, 200) if covered(self.s, self.p, self.z, side, tick, n)]
        assert sizes == list(range(1, len(sizes) + 1))
        return len(sizes)


@pytest.mark.parametrize("side", [1, -1])
def test_the_wallet_times_leverage_is_the_largest_position(side):
    assert Account().most(side) == 20  # 1,000 quote at 50,000, exactly
    assert Account().fill(side, TICK, 12).most(side) == 8
    assert Account(leverage=1.0).most(side) == 2
    assert Account(wallet=99.9).most(side) == 19


@pytest.mark.parametrize("side", [1, -1])
def test_what_reduces_needs_no_margin_and_a_reversal_only_for_the_rest(side):
    held = Account().fill(side, TICK, 20)
    held.z.wallet = 0.0
    assert held.most(-side) == 20
    held.z.wallet = 100.0
    assert held.most(-side) == 40


def test_fees_and_realised_losses_are_gone_open_ones_stand_behind_their_position():
    assert Account(fee="10 bps").fill(1, TICK, 10).most(1) == 9  # 100 - 0.5 of fees cover 19.9 lots
    lost = Account().fill(1, TICK, 10).fill(-1, TICK - 100_000, 10)  # 10,000 a coin: the whole wallet
    assert lost.most(1) == lost.most(-1) == 0
    held = Account().fill(1, TICK, 10)
    assert held.most(1, TICK - 250_000) == 20  # at half the price, while half the wallet is lost on paper
    assert held.most(-1, TICK - 50_000) == 10 + 11  # closing costs 50; the other 50 times 10 at 45,000


def test_the_other_side_of_the_book_takes_nothing():
    """A bid and an ask cannot both add to a position: ``covered`` sees no open orders at all."""
    account = Account()
    assert account.most(1) == account.most(-1) == 20


def test_inverse_margin_is_coin():
    account = Account("inverse", wallet=0.002)  # coin: 100 USD at 50,000
    assert account.most(1) == 100
    assert account.fill(1, TICK, 60).most(1) == 40
    assert account.most(1, TICK * 2) == 80  # a contract is half as many coins at twice the price
    assert account.most(-1, TICK * 2) == 199  # closing there brings three times the wallet


def test_no_tiers_no_margin_account():
    account = Account(wallet=0.0)
    assert account.most(1) == 0
    account.z.tiers = 0
    assert account.most(1) == 199


def test_spot_is_paid_in_full():
    account = Account("spot", wallet=500.0, leverage=10.0)  # leverage lends no money
    account.p.maker_fee_e8 = account.p.taker_fee_e8 = 0
    assert account.most(1) == 10
    account.p.taker_fee_e8 = 10**6  # 1 %, kept ready for the fee
    assert account.most(1) == 9
    account.p.taker_fee_e8 = 0
    assert account.fill(1, TICK, 6).most(1) == 4
    assert account.fill(-1, TICK * 2, 6).most(1) == 16  # 200 + 600
    assert account.most(-1) == 199  # what it holds is another rule
