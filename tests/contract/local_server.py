"""A local exchange in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mm.sandbox.server import Server


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[int]:
    """While it runs: the port of its face."""
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    run = asyncio.create_task(server.run(0, lambda _port, face_port: listening.set_result(face_port)))
    await asyncio.wait([run, listening], return_when=asyncio.FIRST_COMPLETED)
    if run.done():  # it could not start
        run.result()
    try:
        yield listening.result()
    finally:
        server.stop()
        await run
