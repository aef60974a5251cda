"""Concentrated liquidity with ticks: published ends of the tick table, accounting, and the same pool made of slices."""

from decimal import Decimal, localcontext

import pytest

from mm.sim import amm, amm_ticks
from mm.sim.amm_pool import Reverted
from mm.sim.amm_v3 import Q96, position_amounts
from mm.sim.amm_v3_pool import Position, V3Pool

L = 10**21


def test_ticks_are_powers_of_one_basis_point():
    assert amm_ticks.sqrt_at(0) == Q96
    assert amm_ticks.sqrt_at(amm_ticks.MIN_TICK) == amm_ticks.MIN_SQRT
    assert amm_ticks.sqrt_at(amm_ticks.MAX_TICK) == amm_ticks.MAX_SQRT
    assert amm_ticks.sqrt_at(amm_ticks.MIN_TICK + 1) == 4295343490  # as in Uniswap's own tests
    assert amm_ticks.sqrt_at(amm_ticks.MAX_TICK - 1) == 1461373636630004318706518188784493106690254656249
    with localcontext(prec=80):
        for bit in range(20):
            for tick in (1 << bit, -(1 << bit), (1 << bit) - 1):
                if abs(tick) <= amm_ticks.MAX_TICK:
                    want = Decimal("1.0001") ** (Decimal(tick) / 2) * Q96
                    assert abs(amm_ticks.sqrt_at(tick) - want) <= 1 + want / 10**26
        for bit, power in enumerate(amm_ticks._POWERS):
            want = Decimal("1.0001") ** (-Decimal(1 << bit) / 2) * (1 << 128)
            assert abs(power - want) <= 1
    for tick in (amm_ticks.MIN_TICK, -200_001, -1, 0, 1, 77_777, amm_ticks.MAX_TICK - 1):
        root = amm_ticks.sqrt_at(tick)
        assert amm_ticks.tick_at(root) == tick
        assert amm_ticks.tick_at(root - 1) == tick - 1 if tick > amm_ticks.MIN_TICK else True
        assert amm_ticks.tick_at(amm_ticks.sqrt_at(tick + 1) - 1) == tick
    for call in (lambda: amm_ticks.sqrt_at(amm_ticks.MAX_TICK + 1), lambda: amm_ticks.tick_at(1)):
        with pytest.raises(ValueError, match="tick"):
            call()


def pool(fee=2500, spacing=50, ranges=((-5000, 5000), (-500, 500), (600, 1200))):
    made = V3Pool(fee, spacing, Q96)
    positions = [Position(low, high) for low, high in ranges]
    paid = [made.mint(p, L) for p in positions]
    return made, positions, paid


def test_a_deposit_is_what_the_formula_says():
    made, positions, paid = pool()
    for p, (a0, a1) in zip(positions, paid, strict=True):
        want = position_amounts(made.price, 1.0001**p.lower, 1.0001**p.upper, float(L))
        assert (a0, a1) == (pytest.approx(want[0], rel=1e-9), pytest.approx(want[1], rel=1e-9))
    assert made.liquidity == 2 * L
    assert made.order == [-5000, -500, 500, 600, 1200, 5000]


def test_the_widest_range_is_a_constant_product_pool():
    made = V3Pool(2500, 50, Q96)
    low, high = -887_250, 887_250
    x, y = made.mint(Position(low, high), L)
    for amount, way in ((10**18, True), (3 * 10**19, False), (10**20, True)):
        out = made.swap(amount, way).amount_out
        r_in, r_out = (x, y) if way else (y, x)
        want = amm.swap_aero_volatile(r_in, r_out, amount, 25)  # V3 keeps its fees out of the curve
        assert out == pytest.approx(want.amount_out, rel=1e-12)
        x, y = (want.reserve_in, want.reserve_out) if way else (want.reserve_out, want.reserve_in)


@pytest.mark.parametrize("way", [True, False])
def test_crossing_changes_liquidity_and_there_and_back_costs_the_fee(way):
    made, _, _ = pool()
    swap = made.swap(2 * 10**20, way)
    assert swap.crossed >= 1
    assert made.liquidity == sum(t.net for at, t in made.ticks.items() if at <= made.tick)
    back = made.swap(swap.amount_out, not way)
    assert back.amount_out < swap.amount_in
    assert back.amount_out > 0.99 * swap.amount_in


def test_fees_go_to_the_ranges_they_were_earned_in():
    made, positions, _ = pool(ranges=((-5000, 5000), (-500, 500), (600, 1200), (-100, 100)))
    small = made.swap(10**17, True)  # stays within all three ranges around the price
    shares = [made.collect(p) for p in positions]
    assert shares[2] == (0, 0)
    for i in (0, 1, 3):
        assert shares[i][0] == pytest.approx(small.fee / 3, rel=1e-9)
        assert shares[i][1] == 0
    far = made.swap(2 * 10**20, False)  # to the far range, through all others
    earned = [made.collect(p)[1] for p in positions]
    assert sum(earned) <= far.fee
    assert sum(earned) == pytest.approx(far.fee, rel=1e-9)
    assert earned[0] > earned[2] > 0
    assert earned[0] > earned[1] > earned[3]


def test_all_can_leave_with_what_is_there():
    made, positions, paid = pool()
    held = [sum(a) for a in zip(*paid, strict=True)]
    for amount, way in ((10**19, True), (3 * 10**20, False), (5 * 10**20, True), (10**18, False)):
        swap = made.swap(amount, way)
        held[0 if way else 1] += swap.amount_in
        held[1 if way else 0] -= swap.amount_out
    for p in positions:
        out = [a + b for a, b in zip(made.burn(p, p.liquidity), made.collect(p), strict=True)]
        held = [h - o for h, o in zip(held, out, strict=True)]
    assert all(0 <= h < 100 for h in held)  # only what rounding left
    assert made.liquidity == 0
    assert made.order == []
    assert made.ticks == {}
    with pytest.raises(Reverted):
        made.burn(positions[0], 1)


def test_what_reverts_changes_nothing():
    made, positions, _ = pool()
    state = repr(made), repr(positions)
    for call in (
        lambda: made.swap(10**20, True, min_out=10**20),
        lambda: made.swap(-(10**20), False, max_in=10**20),
        lambda: made.swap(0, True),
        lambda: made.swap(10**18, True, limit_x96=Q96 + 1),
        lambda: made.mint(Position(-5, 5), L),
        lambda: made.mint(Position(50, 50), L),
        lambda: made.mint(Position(0, 50), 0),
    ):
        with pytest.raises(Reverted):
            call()
        assert (repr(made), repr(positions)) == state
    with pytest.raises(ValueError, match="no pool"):
        V3Pool(2500, 0, Q96)


def test_exact_output_and_limits():
    made, _, _ = pool()
    got = made.swap(-(10**18), True, max_in=2 * 10**18)
    assert got.amount_out == 10**18
    stop = amm_ticks.sqrt_at(-300)
    made.swap(10**24, True, limit_x96=stop)
    assert made.sqrt_x96 == stop
    end = made.swap(10**24, False)  # runs out of liquidity, and says how much it took
    assert end.amount_in < 10**24
    assert made.liquidity == 0


@pytest.mark.parametrize("move", [0.9, 0.999, 1.0, 1.001, 1.08])
def test_arbitrage_ends_at_the_band(move):
    made, _, _ = pool()
    price, keep = made.price * move, 1 - made.fee_pips / 1e6
    swap = made.arbitrage(price)
    if abs(move - 1) < 1 - keep:
        assert swap is None
        return
    edge = made.price * keep if move < 1 else made.price / keep
    assert edge == pytest.approx(price, rel=1e-12)
    gain = swap.amount_out - swap.amount_in * price if move < 1 else swap.amount_out * price - swap.amount_in
    assert gain > 0
    again = made.arbitrage(price)
    assert again is None or again.amount_in <= 10**9


def test_the_ends_of_bitmap_words():
    made = V3Pool(100, 1, Q96)
    made.mint(Position(-3000, 3000), L)
    assert made._next_tick(0, True) == (0, False)
    assert made._next_tick(-1, True) == (-256, False)
    assert made._next_tick(255, False) == (511, False)
    assert made._next_tick(0, False) == (255, False)
    assert made._next_tick(2999, False) == (3000, True)
    assert made._next_tick(-3000, True) == (-3000, True)
    wide = V3Pool(2500, 50, Q96)
    assert wide._next_tick(-1, True) == (-256 * 50, False)  # division rounds down, also below zero
    assert wide._next_tick(-1, False) == (255 * 50, False)
