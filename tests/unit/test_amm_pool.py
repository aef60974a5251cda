"""A pool with state: reverts change nothing, fees reach the holders, arbitrage ends at the band."""

import copy

import pytest

from mm.sim import amm
from mm.sim.amm_pool import Pool, Reverted, Share, position_result

E18, E6 = 10**18, 10**6


def volatile(rule="v2", fee=30, a0=100 * E18, a1=300_000 * E6):
    pool = Pool(rule, fee, E18, E6)
    return pool, pool.mint(a0, a1)


def stable(fee=5, a=10**6):
    pool = Pool("aero_stable", fee, E6, E18)
    return pool, pool.mint(a * E6, a * E18)


@pytest.mark.parametrize("make", [volatile, lambda: volatile("aero_volatile"), stable])
def test_what_reverts_changes_nothing(make):
    pool, share = make()
    before, held = copy.copy(pool), copy.copy(share)
    amount = pool.reserve0 // 10
    out = pool.quote(amount, True).amount_out
    for call in (
        lambda: pool.swap(amount, True, out + 1),
        lambda: pool.swap(0, True),
        lambda: pool.burn(share, share.liquidity + 1),
        lambda: pool.burn(share, 0),
        lambda: pool.mint(0, 1, share),
    ):
        with pytest.raises(Reverted):
            call()
        assert pool == before
        assert share == held
    assert pool.swap(amount, True, out).amount_out == out
    assert pool.reserve0 + pool.fees0 == before.reserve0 + amount


def test_a_curve_that_pays_too_much_is_stopped(monkeypatch):
    pool, _ = volatile()
    right = pool.quote(E18, True)
    wrong = right._replace(amount_out=right.amount_out * 2, reserve_out=right.reserve_out - right.amount_out)
    monkeypatch.setattr(Pool, "quote", lambda *_: wrong)
    with pytest.raises(Reverted, match="lower k"):
        pool.swap(E18, True)


def test_exact_output_respects_its_limit():
    pool, _ = volatile()
    need = amm.amount_in_v2(pool.reserve0, pool.reserve1, 1000 * E6, 30)
    with pytest.raises(Reverted, match="at most"):
        pool.swap_for_exact(1000 * E6, True, need - 1)
    with pytest.raises(Reverted, match="hold"):
        pool.swap_for_exact(pool.reserve1, True, 10**40)
    assert pool.swap_for_exact(1000 * E6, True, need).amount_out >= 1000 * E6
    with pytest.raises(ValueError, match="exact-output"):
        volatile("aero_volatile")[0].swap_for_exact(1, True, 10)


def test_the_first_stable_deposit_is_equal_and_large_enough():
    for amounts in ((10 * E6, 11 * E18), (1, 10**12)):
        with pytest.raises(Reverted, match="first deposit"):
            Pool("aero_stable", 5, E6, E18).mint(*amounts)


def test_aerodrome_fees_go_to_the_holders_of_their_time():
    pool, first = volatile("aero_volatile")
    fee_a = pool.swap(E18, True).fee
    second = pool.mint(pool.reserve0, pool.reserve1)  # doubles the pool, earns nothing of the past
    fee_b = pool.swap(2 * E18, True).fee
    fee_c = pool.swap(5000 * E6, False).fee
    got_first, got_second = pool.claim(first), pool.claim(second)
    assert got_first[0] == pytest.approx(fee_a + fee_b / 2, rel=1e-9)
    assert got_second[0] == pytest.approx(fee_b / 2, rel=1e-9)
    assert got_first[1] == pytest.approx(fee_c / 2, rel=1e-3)
    assert sum(got_first + got_second) <= fee_a + fee_b + fee_c
    assert min(pool.fees0, pool.fees1) >= 0
    assert pool.claim(first) == (0, 0)
    assert pool.claim(Share()) == (0, 0)


def test_fees_kept_in_the_reserves_are_paid_by_burning():
    pool, share = volatile()
    deposit = (pool.reserve0, pool.reserve1)
    for _ in range(50):
        pool.swap(pool.swap(10 * E18, True).amount_out, False)
    back = pool.burn(share, share.liquidity)
    result = position_result((deposit[0] / E18, deposit[1] / E6), (back[0] / E18, back[1] / E6), (0.0, 0.0), pool.price)
    assert pool.claim(share) == (0, 0)
    assert result.fees > 0.02 * result.hold
    assert result.value == pytest.approx(result.hold + result.divergence + result.fees, rel=1e-12)
    assert result.divergence == pytest.approx(
        result.hold * amm.impermanent_loss(pool.price / 3000.0), rel=1e-6, abs=1e-9 * result.hold
    )
    with pytest.raises(ValueError, match="no position"):
        position_result((0.0, 1.0), (1.0, 1.0), (0.0, 0.0), 1.0)


@pytest.mark.parametrize("make", [volatile, lambda: volatile("aero_volatile", 5), stable])
@pytest.mark.parametrize("move", [0.7, 0.98, 1.0, 1.02, 1.5])
def test_arbitrage_ends_at_the_band_and_earns(make, move):
    pool, _ = make()
    price, keep = pool.price * move, 1 - pool.fee_bps / 10_000
    trade = pool.arbitrage(price)
    if move == 1.0:
        assert trade is None
        return
    amount, sells0 = trade
    swap = pool.swap(amount, sells0)
    paid = swap.amount_in / (pool.decimals0 if sells0 else pool.decimals1) * (price if sells0 else 1.0)
    got = swap.amount_out / (pool.decimals1 if sells0 else pool.decimals0) * (1.0 if sells0 else price)
    assert got > paid
    assert pool.price * keep <= price * (1 + 1e-6)
    assert pool.price / keep >= price * (1 - 1e-6)
    edge = pool.price * keep if sells0 else pool.price / keep
    assert edge == pytest.approx(price, rel=0.003 if pool.rule == "v2" else 1e-6)  # a kept fee moves it further
    with pytest.raises(ValueError, match="positive"):
        pool.arbitrage(0.0)


def test_a_stable_swap_without_a_solution_reverts():
    """The contract's search normalises its own units twice; with unequal decimals it may not end."""
    pool = Pool("aero_stable", 43, E18, E6)
    pool.mint(100 * E18, 100 * E6)
    pool.reserve0, pool.reserve1 = 155175321131331970, 1088267798
    with pytest.raises(Reverted, match="did not converge"):
        _ = [pool.quote(pool.reserve0 * k // 800, True) for k in range(1, 400)]
