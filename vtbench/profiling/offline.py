"""Nothing is downloaded to count: connections that are asked for while a model is built are refused."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOCAL = ("localhost", "127.0.0.1", "::1")


class _RefusedConnectionError(ConnectionError):
    """What whoever asked for a connection is told; libraries take it for a machine without a network."""


@contextmanager
def refused_connections() -> Iterator[list[str]]:
    """Refuse new connections of this thread to other machines inside the block; yields the hosts that were asked for.

    Libraries that then find what they want on this machine go on.
    """
    hosts: list[str] = []
    original, thread = socket.getaddrinfo, threading.get_ident()

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if threading.get_ident() != thread or name is None or name in _LOCAL:
            return original(host, *args, **kwargs)
        hosts.append(str(name))
        raise _RefusedConnectionError(f"no connection to {name}: nothing is downloaded to count")

    hub = sys.modules.get("huggingface_hub.constants")
    was_offline = getattr(hub, "HF_HUB_OFFLINE", None)
    socket.getaddrinfo = look_up
    if hub is not None:  # Else it tries again for half a minute.
        hub.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    try:
        yield hosts
    finally:
        socket.getaddrinfo = original
        if hub is not None:
            hub.HF_HUB_OFFLINE = was_offline  # type: ignore[attr-defined]
