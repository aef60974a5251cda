"""A client that was closed: the executor closes it when the venue does not answer, and needs it again at once."""

from __future__ import annotations

import asyncio

import pytest

from mm.errors import VenueUnreachable
from tests.contract.conformance.matrix import venues
from tests.contract.conformance.rig import Rig
from tests.contract.conformance.wait import until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("venue", venues())
def test_a_closed_client_places_nothing_but_cancels_and_connects_again(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        trader = await rig.trader()
        await trader.rest(1, rig.mid - 3 * rig.step, "0.02")
        await trader.client.close()
        n, r = trader.request(1, rig.mid - 4 * rig.step, "0.02")
        with pytest.raises(VenueUnreachable):
            await trader.client.place(r.symbol, r.client_order_id, r.side, r.price, r.size)
        try:
            await trader.client.cancel_all()
        except VenueUnreachable:  # some need their connection for it: then the next one cancels
            await trader.connect()
            await trader.client.cancel_all()
        await until(lambda: not trader.account.open, "no open order")
        await trader.connect()
        await trader.rest(1, rig.mid - 3 * rig.step, "0.02")
        assert trader.kinds(n) == []
        assert await trader.client.cancel_all() == 1

    async def whole() -> None:
        rig = Rig(venue)
        await rig.start()
        await rig.begin()
        try:
            await scenario(rig)
        finally:
            await rig.end()
            await rig.stop()

    asyncio.run(whole())
