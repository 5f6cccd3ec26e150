"""A real server with every port that it can have, so that all of its live protocols are spoken."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .server import RealServer, start_server

PORTS = {"oddasr": "ODDASR_WS_PORT", "wyoming": "WYOMING_PORT"}
"""The settings of the protocols that have ports of their own."""


@dataclass(frozen=True)
class Wires:
    """A server, and the ports of the protocols that have one."""

    server: RealServer
    ports: Mapping[str, int]

    def url(self, protocol: str) -> str:
        """Where a protocol (a name in tools.dialects) is spoken."""
        return f"http://127.0.0.1:{self.ports[protocol]}" if protocol in self.ports else self.server.base


def start_wires(models_dir: Path, folder: Path, **settings: str) -> Wires:
    """`python start.py` with all ports; not ready yet."""
    with contextlib.ExitStack() as held:  # until the main port is drawn, too, so that no two are the same
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        ports = {name: listener.getsockname()[1] for name, listener in zip(PORTS, listeners, strict=True)}
        opened = {setting: str(ports[name]) for name, setting in PORTS.items()}
        server = start_server(models_dir, folder, **opened, **settings)
    return Wires(server, ports)
