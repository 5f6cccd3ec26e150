"""Servers to fetch from, names that resolve to what a test says, and connections that can be seen."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TypeAlias

import httpcore

from app.audio.fetching.addresses import Address
from app.audio.fetching.fetcher import Fetcher
from app.audio.fetching.resolving import UnresolvedError
from app.audio.storing import room_for_recording

PUBLIC = "93.184.215.14"
NAME = "recordings.example"
SOUND = bytes(range(256)) * 40
Play: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(body: bytes = SOUND, status: str = "200 OK", *headers: str, length: int | None = None) -> Play:
    """A whole answer; `length` is the Content-Length it states where that is not true."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]

    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return play


def redirecting(*targets: str) -> Play:
    """To each target in turn, then to the last one."""
    left = list(targets)

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = left.pop(0) if len(left) > 1 else left[0]
        await answering(b"moved", "302 Found", f"Location: {target}")(reader, writer)

    return play


def dripping(first: bytes, drop: bytes, every: float = 0.0) -> Play:
    """`first`, and then `drop` after `drop` until the client leaves."""

    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(every)

    return play


def silent(first: bytes = b"") -> Play:
    """`first`, and then nothing until the client leaves."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        await reader.read()

    return play


class Listener:
    """A server on this machine. It counts connections, whether or not anything is asked over them."""

    def __init__(self, play: Play | None = None) -> None:
        self.play = play or answering()
        self.connections = 0
        self.heads: list[bytes] = []
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self.port = 0

    @asynccontextmanager
    async def at(self, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncGenerator[Listener, None]:
        """Listen there, at a port of the system's choice."""
        server = await asyncio.start_server(self._meet, address, 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                self.asked.set()
                await self.play(reader, writer)
        finally:
            self.gone.set()
            writer.close()


class Names:
    """A resolver: for each name its answers in turn, the last of them for ever after."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(answer) for name, answer in answers.items()}
        self.asked: list[str] = []
        self.keys: list[str] = []

    async def resolve(self, host: str, key: str) -> Sequence[Address]:
        self.asked.append(host)
        self.keys.append(key)
        left = self._answers.get(host)
        if left is None:
            raise UnresolvedError
        return [ip_address(one) for one in (left.pop(0) if len(left) > 1 else left[0])]

    def close(self) -> None:
        """Nothing to end."""


class Roads(httpcore.AsyncNetworkBackend):
    """A network where `public` addresses lead to listeners on this machine, and others where they always do."""

    def __init__(self, **public: Listener) -> None:
        self._public = {address.strip("_").replace("_", "."): listener for address, listener in public.items()}
        self._system = httpcore.AnyIOBackend()
        self.dialled: list[str] = []

    @classmethod
    def to(cls, listener: Listener) -> Roads:
        return cls(**{PUBLIC: listener})

    async def connect_tcp(self, host: str, port: int, **options: object) -> httpcore.AsyncNetworkStream:
        self.dialled.append(host)
        if host in self._public:
            return await self._system.connect_tcp("127.0.0.1", self._public[host].port, timeout=5)
        return await self._system.connect_tcp(host, port, timeout=5)


def fetcher(
    *,
    networks: Collection[str] = (),
    max_bytes: int = 1_000_000,
    seconds: float = 20.0,
    idle_seconds: float = 10.0,
    grace_seconds: float = 60.0,
    resolver: Names | None = None,
    dialer: Roads | None = None,
    tls: ssl.SSLContext | None = None,
) -> Fetcher:
    """As the service makes one, with smaller limits."""
    return Fetcher(
        networks=[ip_network(network) for network in networks],
        max_bytes=max_bytes,
        seconds=seconds,
        idle_seconds=idle_seconds,
        grace_seconds=grace_seconds,
        resolver=resolver,
        dialer=dialer,
        tls=tls,
    )


def of_public(listener: Listener, **limits: float) -> Fetcher:
    """A fetcher for whom `listener` is a server of the public internet, called NAME."""
    return fetcher(resolver=Names(**{NAME: [[PUBLIC]]}), dialer=Roads.to(listener), **limits)  # type: ignore[arg-type]


async def fetch(source: Fetcher, url: str, folder: Path) -> bytes:
    """The bytes at `url`. Whatever happens, no file may be left and the fetcher is closed."""
    try:
        with room_for_recording(folder) as room:
            await source.fetch(url, room, param="audio_address")
            return await asyncio.to_thread(Path(room.name).read_bytes)
    finally:
        source.close()
        assert os.listdir(folder) == []  # noqa: PTH208 - a path's own would be blocking, too, and ruff knows


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """`scenario` on a loop of its own, in limited time; nothing may be left running."""

    async def main() -> None:
        async with asyncio.timeout(60):
            await scenario()
        for _ in range(100):  # handlers of servers see the end a moment later
            if len(asyncio.all_tasks()) == 1:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"left running: {asyncio.all_tasks()}")

    asyncio.run(main())
