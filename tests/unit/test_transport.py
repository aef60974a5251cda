"""Messages between actors: encoding, order, loss, a receiver that restarts, and who may speak over tcp."""

from __future__ import annotations

import asyncio
import socket
from decimal import Decimal

import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from actors import transport
from actors.transport import Curve, Inbox, Outbox, clear_stale, decode, encode, ipc_address, socket_dir
from actors.wire import pack_execs, unpack_execs
from mm.core.types import EXEC


@given(
    st.integers(0, 255), st.binary(max_size=50), st.integers(0, 255), st.integers(0, 2**16 - 1), st.integers(0, 2**40),
    st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1),
)  # fmt: skip
def test_a_message_is_what_was_encoded(kind, payload, a, b, seq, t1, t2):
    m = decode(encode(kind, payload, a, b, seq, t1, t2))
    assert m == (kind, a, b, seq & 0xFFFFFFFF, t1, t2, payload)


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False), max_size=5))
def test_executions_keep_their_exact_fees(fees):
    execs = np.zeros(len(fees), EXEC)
    execs["id"] = np.arange(len(fees))
    got, got_fees = unpack_execs(pack_execs(execs, fees))
    assert (got == execs).all()
    assert got_fees == [Decimal(f) for f in fees]


def run(work):
    async def bounded():
        async with asyncio.timeout(20):
            return await work

    return asyncio.run(bounded())


async def receive(inbox, n):
    out = []
    while len(out) < n:
        await inbox.wait(5.0)
        got = inbox.drain()
        assert got, "nothing arrived"
        out += got
    return out


@pytest.fixture
def context():
    with zmq.Context() as c:
        yield c


def test_order_and_numbers_are_kept(tmp_path, context):
    async def work():
        inbox = Inbox(context, ipc_address(tmp_path, "a"))
        outbox = Outbox(context, ipc_address(tmp_path, "a"))
        for n in range(500):
            assert outbox.send(transport.EVENTS, str(n).encode(), t_mono_ns=n)
        got = await receive(inbox, 500)
        outbox.close()
        inbox.close()
        return got

    got = run(work())
    assert [m.payload for m in got] == [str(n).encode() for n in range(500)]
    assert [m.seq for m in got] == list(range(1, 501))


def test_a_message_is_noticed_while_waiting_and_while_busy(tmp_path, context):
    async def work():
        inbox = Inbox(context, ipc_address(tmp_path, "a"))
        outbox = Outbox(context, ipc_address(tmp_path, "a"))
        for _ in range(50):
            outbox.send(1)
            await receive(inbox, 1)  # waits
            outbox.send(2)
            await asyncio.sleep(0.002)  # busy elsewhere: it arrives meanwhile
            assert [m.kind for m in await receive(inbox, 1)] == [2]
        before = asyncio.get_running_loop().time()
        await inbox.wait(0.05)
        assert 0.04 < asyncio.get_running_loop().time() - before < 2.0
        assert inbox.drain() == []
        asyncio.get_running_loop().call_later(0.01, inbox.poke)
        await inbox.wait(10.0)
        outbox.close()
        inbox.close()

    run(work())


def test_a_restarted_receiver_gets_what_was_sent_meanwhile(tmp_path, context):
    async def work():
        address = ipc_address(tmp_path, "a")
        outbox = Outbox(context, address)
        first = Inbox(context, address)
        outbox.send(1, b"one")
        await receive(first, 1)
        first.close()
        clear_stale(address)
        await asyncio.sleep(0.05)
        outbox.send(1, b"two")
        second = Inbox(context, address)
        got = await receive(second, 1)
        outbox.close()
        second.close()
        return got

    assert [m.payload for m in run(work())] == [b"two"]


def test_a_flood_to_nobody_is_dropped_and_counted(tmp_path, context, monkeypatch):
    monkeypatch.setattr(transport, "HIGH_WATER", 10)
    outbox = Outbox(context, ipc_address(tmp_path, "nobody"))
    sent = [outbox.send(1, b"x") for _ in range(50)]
    assert sum(sent) == 10
    assert outbox.dropped == 40
    outbox.close()


def test_noise_is_counted(tmp_path, context):
    async def work():
        inbox = Inbox(context, ipc_address(tmp_path, "a"))
        raw = context.socket(zmq.PUSH)
        raw.connect(ipc_address(tmp_path, "a"))
        raw.send(b"short")
        raw.send(encode(3, b"", 0, 0, 1, 0, 0))
        (m,) = await receive(inbox, 1)
        raw.close()
        inbox.close()
        return m.kind, inbox.bad

    assert run(work()) == (3, 1)


def test_over_tcp_only_who_knows_the_key_is_heard(context):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    curve = Curve.new()

    async def work():
        inbox = Inbox(context, address, curve)
        stranger, liar, friend = Outbox(context, address), Outbox(context, address, Curve.new()), None
        stranger.send(1, b"stranger")
        liar.send(1, b"liar")
        friend = Outbox(context, address, curve)
        friend.send(1, b"friend")
        got = await receive(inbox, 1)
        await inbox.wait(0.3)
        got += inbox.drain()
        for box in (stranger, liar, friend, inbox):
            box.close()
        return [m.payload for m in got]

    assert run(work()) == [b"friend"]


def test_socket_directories_are_private_and_short(tmp_path):
    path = socket_dir(tmp_path / "s")
    assert path.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ValueError, match="too long"):
        ipc_address(tmp_path / ("x" * 120), "a")
