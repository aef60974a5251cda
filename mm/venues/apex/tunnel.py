"""REST through a SOCKS5 proxy.

requests would want PySocks for it; python_socks, which the WebSocket library and ccxt use, is enough.
"""

from __future__ import annotations

from typing import Any

import urllib3
from python_socks import ProxyError
from python_socks.sync import Proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError


def tunnel(manager: urllib3.PoolManager, proxy: str, timeout_s: float) -> None:
    """From now on a pool manager connects through ``proxy`` (``socks5h://[user:password@]host:port``).

    Names are resolved by the proxy. A connection that could not be made raises ``NewConnectionError``.
    """
    made = Proxy.from_url(proxy.replace("socks5h://", "socks5://", 1), rdns=True)

    def connect(self: HTTPConnection) -> Any:
        try:
            return made.connect(self.host, self.port or self.default_port, timeout=timeout_s)
        except (ProxyError, OSError) as exc:
            raise NewConnectionError(self, f"proxy: {type(exc).__name__}: {exc}") from exc

    plain = type("TunnelledHTTP", (HTTPConnection,), {"_new_conn": connect})
    secure = type("TunnelledHTTPS", (HTTPSConnection,), {"_new_conn": connect})
    manager.pool_classes_by_scheme = {
        "http": type("TunnelledPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("TunnelledSecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }
