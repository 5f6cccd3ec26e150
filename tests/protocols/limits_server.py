"""The whole application on a real server, with every port, engines that a test decides over, and limits."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from openai_server import wait_until
from pipeline.stubs import StubDetector
from served import served
from service.house import House, furnished
from streaming.talk import Loudness

from app.domain.engines import Hypothesis, PieceRequest
from app.main import create_app
from app.ports import ServedTcp, TcpServer
from app.protocols.oddasr import ws as oddasr_ws
from app.protocols.wyoming.events import LONGEST_LINE
from app.protocols.wyoming.tcp import protocol_of
from app.service.service import SpeechService

KEY, OTHER_KEY = "anna", "bert"
PLACES = {"oddasr": "/oddasr/live"}
"""Where the protocols are that have a port of their own: here all are at one, but for Wyoming's."""


@dataclass
class _Detector(StubDetector):
    """Also listens live: to what is loud."""

    def open(self) -> Loudness:
        return Loudness()


def _loudness(request: PieceRequest) -> Hypothesis:
    """A piece's text is how many different levels of sound it has, in their order."""
    levels = np.round(request.piece.samples * 32768 / 500).astype(int)
    return Hypothesis(" ".join(f"w{level}" for level in dict.fromkeys(levels.tolist()) if level), "en", {"en": 1.0})


@dataclass(frozen=True)
class Limited:
    app: FastAPI
    port: int
    wyoming: int
    house: House

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def service(self) -> SpeechService:
        return self.app.state.service

    def url(self, protocol: str) -> str:
        """Where a protocol (a name in tools.dialects) is spoken."""
        return f"http://127.0.0.1:{self.wyoming}" if protocol == "wyoming" else self.base + PLACES.get(protocol, "")

    def client(self, key: str = KEY) -> httpx.Client:
        return httpx.Client(base_url=self.base, headers={"authorization": f"Bearer {key}"}, timeout=60)

    def used(self, name: str) -> tuple[int, int, int]:
        """Requests, streams and seconds of whoever is called so."""
        for one in self.service.quotas.usage():
            if one.name == name:
                return one.used.requests, one.used.streams, one.used.seconds
        return 0, 0, 0


@contextlib.contextmanager
def limited(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> Iterator[Limited]:
    """A server that lives as long as the block, and is ready. Its recordings are 16 s, and of live sound it hears what
    is loud."""
    folder.mkdir(exist_ok=True)
    house = furnished(folder, monkeypatch)
    house.detector = _Detector(house.detector.spans)
    house.recognizer.hears = _loudness
    app = create_app(house.settings(**settings))
    app.mount("/oddasr", oddasr_ws.application_of(app))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    _answer_wyoming(app, listener)
    with served(app, lifespan="on") as port:
        server = Limited(app, port, listener.getsockname()[1], house)
        with server.client() as http:
            _until_ready(http)
        yield server


def _answer_wyoming(app: FastAPI, listener: socket.socket) -> None:
    """For as long as the application lives, in its event loop."""
    within = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncGenerator[None, None]:
        server = TcpServer(ServedTcp(protocol_of(app), LONGEST_LINE, "127.0.0.1", 0, "WYOMING_PORT"))
        async with within(application):
            await server.begin([listener])
            yield
            server.close()
            await server.give_up()

    app.router.lifespan_context = lifespan  # type: ignore[assignment]


def _until_ready(http: httpx.Client) -> None:
    assert wait_until(lambda: http.get("/health/ready").status_code == 200), "the server did not become ready"
