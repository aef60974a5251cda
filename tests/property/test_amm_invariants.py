"""No pool ever loses k, and no round trip gains, whatever is done to it."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mm.sim.amm_pool import Pool, Reverted
from mm.sim.amm_v3 import Q96
from mm.sim.amm_v3_pool import Position, V3Pool

ACTIONS = st.lists(st.tuples(st.floats(1e-12, 2.0), st.booleans()), min_size=1, max_size=12)
E18 = 10**18


@settings(deadline=None)
@given(st.sampled_from(["v2", "aero_volatile"]), st.integers(10**4, 10**26), st.integers(10**4, 10**26),
       st.integers(0, 300), ACTIONS)  # fmt: skip
def test_k_never_falls(rule, a0, a1, fee, actions):
    pool = Pool(rule, fee)
    pool.mint(a0, a1)
    total = [pool.reserve0, pool.reserve1]
    for size, way in actions:
        before = pool.k
        amount = int((pool.reserve0 if way else pool.reserve1) * size)
        quoted = pool.quote(amount, way).amount_out
        try:
            swap = pool.swap(amount, way)
        except Reverted:
            assert quoted == 0  # the only reason: constant-product arithmetic never fails its own check
            assert pool.k == before
            continue
        assert pool.k >= before
        total[0 if way else 1] += amount
        total[1 if way else 0] -= swap.amount_out
        assert [pool.reserve0 + pool.fees0, pool.reserve1 + pool.fees1] == total


@settings(deadline=None)
@given(st.integers(10**2, 10**9), st.sampled_from([(10**6, E18), (E18, 10**6), (10**6, 10**6), (E18, E18)]),
       st.integers(1, 100), ACTIONS)  # fmt: skip
def test_k_of_a_stable_pool_never_falls(tokens, decimals, fee, actions):
    pool = Pool("aero_stable", fee, *decimals)
    pool.mint(tokens * decimals[0], tokens * decimals[1])
    for size, way in actions:
        before = pool.k
        amount = int((pool.reserve0 if way else pool.reserve1) * min(size, 0.5))
        try:
            pool.swap(amount, way)
        except Reverted:
            assert pool.k == before
            continue
        assert pool.k >= before


@settings(deadline=None)
@given(st.sampled_from(["v2", "aero_volatile"]), st.integers(10**6, 10**24), st.integers(10**6, 10**24), ACTIONS,
       st.floats(0.01, 3.0))  # fmt: skip
def test_a_share_never_loses_root_k(rule, a0, a1, actions, part):
    pool = Pool(rule, 30)
    pool.mint(a0, a1)
    per_share = [pool.k, pool.supply]

    def grew():
        ok = pool.k * per_share[1] ** 2 >= per_share[0] * pool.supply**2
        per_share[:] = pool.k, pool.supply
        return ok

    share = None
    for i, (size, way) in enumerate(actions):
        try:
            if i % 3 == 0:
                share = pool.mint(int(pool.reserve0 * part), int(pool.reserve1 * part), share)
            elif i % 3 == 1 or share is None:
                pool.swap(int((pool.reserve0 if way else pool.reserve1) * size), way)
            else:
                pool.burn(share, int(share.liquidity * min(size, 1.0)))
        except Reverted:
            pass
        assert grew()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-40, 39), st.integers(1, 40), st.integers(10**6, 10**24)), min_size=1,
                max_size=4), st.sampled_from([(100, 1), (500, 10), (2500, 50), (10_000, 200)]),
       st.lists(st.tuples(st.integers(1, 10**22), st.booleans(), st.booleans()), min_size=1, max_size=8))  # fmt: skip
def test_a_v3_pool_can_always_pay_everyone(ranges, kind, swaps):
    fee, spacing = kind
    pool = V3Pool(fee, spacing, Q96)
    positions = [Position(low * spacing, (low + width) * spacing) for low, width, _ in ranges]
    held = [0, 0]
    for p, (_, _, liquidity) in zip(positions, ranges, strict=True):
        held = [h + a for h, a in zip(held, pool.mint(p, liquidity), strict=True)]
    for amount, way, exact_in in swaps:
        before = pool.sqrt_x96
        try:
            swap = pool.swap(amount if exact_in else -amount, way)
        except Reverted:
            continue
        assert pool.sqrt_x96 <= before if way else pool.sqrt_x96 >= before
        assert pool.liquidity == sum(t.net for at, t in pool.ticks.items() if at <= pool.tick) >= 0
        assert swap.amount_in <= amount if exact_in else swap.amount_out <= amount
        held[0 if way else 1] += swap.amount_in
        held[1 if way else 0] -= swap.amount_out
    assume(positions)
    for p in positions:
        out = zip(pool.burn(p, p.liquidity), pool.collect(p), strict=True)
        held = [h - sum(o) for h, o in zip(held, out, strict=True)]
    assert min(held) >= 0
    assert pool.liquidity == 0
