"""Hot messages between actors: ZeroMQ PUSH to PULL, one inbox per actor, raw record bytes, no pickle.

Ray gives actors their lives; their market data, commands and executions go over these sockets (ipc on a node, tcp
between nodes). An actor owns one *inbox* (bound) and an *outbox* (connected) per receiver. A message is a 24-byte
header and the bytes of record arrays (EVENT, COMMAND, EXEC, ...). Order is kept per sender; ``seq`` counts the messages
of one outbox, so a receiver notices a loss. A restarted receiver binds the same address again and senders reconnect.

Over tcp every socket runs CURVE with a key pair made for the run: who does not know the run's public key, which
travels only inside Ray, cannot hand an order to the executor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import zmq

HEADER: Final = struct.Struct("<BBHIqq")
HIGH_WATER: Final = 100_000  # messages that wait for a receiver that is away; beyond it they are dropped and counted

# kinds of messages
EVENTS: Final = 1  # feed -> quoter, risk: EVENT array; t_mono_ns: last byte of the frame read; b: its number in the raw
FEED_STATE: Final = 2  # feed -> quoter, risk: a = 1 the books cannot be trusted until the next snapshot
RESYNC: Final = 3  # -> feed: send fresh snapshots
COMMANDS: Final = 4  # quoter -> executor: COMMAND array (empty: a heartbeat); b = epoch
EXECS: Final = 5  # executor -> quoter, risk: EXEC array, then the fees as text
SYNC: Final = 6  # executor -> quoter, risk: the whole truth about position and orders; b = epoch
HELLO: Final = 7  # quoter, risk -> executor: send SYNC to me; a = QUOTER or RISK
LEASE: Final = 8  # risk -> executor: LIMITS and PARAMS arrays; t_wall_ns: valid until
HALT: Final = 9  # -> executor: a = HALT_* code; executor -> quoter: a = code, 0 after a rearm
EXPOSURE: Final = 10  # risk -> desk risk: four floats, b = index of the venue

QUOTER: Final = 1
RISK: Final = 2


class Message(NamedTuple):
    """One message; what ``a``, ``b`` and the times mean depends on ``kind``."""

    kind: int
    a: int
    b: int
    seq: int
    t_mono_ns: int
    t_wall_ns: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Curve:
    """The run's key pair (Z85 text), for tcp."""

    public: str
    secret: str

    @classmethod
    def new(cls) -> Curve:
        public, secret = zmq.curve_keypair()
        return cls(public.decode(), secret.decode())


def encode(kind: int, payload: bytes, a: int, b: int, seq: int, t_mono_ns: int, t_wall_ns: int) -> bytes:
    """The bytes of one message."""
    return HEADER.pack(kind, a, b, seq & 0xFFFFFFFF, t_mono_ns, t_wall_ns) + payload


def decode(raw: bytes) -> Message:
    """A message from its bytes; raises ``struct.error`` when they are too few."""
    kind, a, b, seq, t_mono_ns, t_wall_ns = HEADER.unpack_from(raw)
    return Message(kind, a, b, seq, t_mono_ns, t_wall_ns, raw[HEADER.size :])


class Inbox:
    """Receives for one actor, inside its event loop. Everything that has arrived is taken at once (``drain``)."""

    def __init__(self, context: zmq.Context[Any], address: str, curve: Curve | None = None) -> None:
        self._socket = context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
        self._socket.setsockopt(zmq.LINGER, 0)
        if curve is not None:
            self._socket.setsockopt(zmq.CURVE_SERVER, 1)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret.encode())
        self._socket.bind(address)
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Message] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._poke = False
        self.bad = 0  # messages too short to be one
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self._readable()

    def _readable(self) -> None:
        # ZeroMQ's descriptor signals an edge, not a level: take everything, until it says "again"
        try:
            while True:
                raw = self._socket.recv(zmq.NOBLOCK)
                try:
                    self._queue.append(decode(raw))
                except struct.error:
                    self.bad += 1
        except zmq.Again:
            pass
        if self._queue:
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def poke(self) -> None:
        """End the present or the next ``wait`` at once."""
        self._poke = True
        self._wake()

    async def wait(self, timeout_s: float) -> None:
        """Return when a message is there, when poked, or when the time is over."""
        if self._queue or self._poke or timeout_s <= 0:
            self._poke = False
            return
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, self._wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
            self._poke = False

    def drain(self) -> list[Message]:
        """Everything that has arrived, oldest first."""
        out = list(self._queue)
        self._queue.clear()
        return out

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


class Outbox:
    """Sends to one receiver; never blocks."""

    def __init__(self, context: zmq.Context[Any], address: str, curve: Curve | None = None) -> None:
        self._socket = context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        if curve is not None:
            public, secret = zmq.curve_keypair()
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, curve.public.encode())
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        self._socket.connect(address)
        self._seq = 0
        self.dropped = 0

    def send(
        self, kind: int, payload: bytes = b"", *, a: int = 0, b: int = 0, t_mono_ns: int = 0, t_wall_ns: int = 0
    ) -> bool:
        """Send one message; False (and counted) when the receiver has been away for too long."""
        self._seq += 1
        try:
            self._socket.send(encode(kind, payload, a, b, self._seq, t_mono_ns, t_wall_ns), zmq.NOBLOCK)
        except zmq.Again:
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        self._socket.close()


def socket_dir(path: Path) -> Path:
    """Make a directory for ipc sockets that only this user can enter."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(path, 0o700)  # noqa: PTH101  Path.chmod follows the same rule; said once, explicitly
    return path


def ipc_address(directory: Path, name: str) -> str:
    """The ipc address of an inbox. A Unix socket's path must stay below 108 bytes."""
    path = directory / name
    if len(os.fsencode(path)) > 100:
        raise ValueError(f"socket path {path} is too long for the system; set TMPDIR to a shorter directory")
    return f"ipc://{path}"


def clear_stale(address: str) -> None:
    """Remove the socket file that a killed process left behind."""
    if address.startswith("ipc://"):
        with contextlib.suppress(FileNotFoundError):
            Path(address.removeprefix("ipc://")).unlink()
