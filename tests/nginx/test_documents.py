"""What the documents say of nginx has been tried."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from real.server import ROOT
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from .certificates import make_certificate
from .proxy import free_ports


@pytest.fixture
def oddasr_proxy(echo: str, tmp_path: Path) -> Iterator[tuple[list[int], ssl.SSLContext]]:
    """The two servers of docs/oddasr.md, with free ports, before echo.py: their ports, and whom to trust."""
    text = (ROOT / "docs" / "oddasr.md").read_text()
    block = re.search(r"\n((?:    server \{\n)(?:    .*\n)+)", text)
    assert block is not None
    trusted = ssl.create_default_context(cafile=str(make_certificate(tmp_path)))
    ports = free_ports(2)
    servers = textwrap.dedent(block[1]).replace("127.0.0.1:19002", echo).replace("127.0.0.1:18101", echo)
    servers = servers.replace("scripts/cert.pem", "tls.crt").replace("scripts/key.pem", "tls.key")
    for told, port in zip((9002, 8101), ports, strict=True):
        servers = servers.replace(f"listen {told} ssl", f"listen 127.0.0.1:{port} ssl")
    folders = "".join(f"{kind}_temp_path t_{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"pid pid; error_log stderr; events {{ }} http {{ access_log off; {folders}\n{servers}}}")
    process = subprocess.Popen(["nginx", "-p", tmp_path, "-c", conf, "-g", "daemon off;"])
    try:
        deadline = time.monotonic() + 20
        for port in ports:
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
        yield ports, trusted
    finally:
        process.terminate()
        process.wait(20)


def test_oddasrs_ports_with_a_certificate(oddasr_proxy: tuple[list[int], ssl.SSLContext]) -> None:
    (http, live), trusted = oddasr_proxy
    told = httpx.post(f"https://127.0.0.1:{http}/v1/asr", content=bytes(3_000_000), verify=trusted).json()
    assert (told["bytes"], told["scheme"], told["client"]) == (3_000_000, "https", "127.0.0.1")

    async def knock() -> int:
        try:
            async with connect(f"wss://127.0.0.1:{live}/v1/asr", ssl=trusted, proxy=None):
                return 101
        except InvalidStatus as error:
            return error.response.status_code

    assert asyncio.run(knock()) == 101
