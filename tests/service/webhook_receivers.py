"""Receivers of webhooks on this machine, and jobs whose owners are told there, in a real database."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeAlias

from standardwebhooks.webhooks import Webhook as Verifier

from app.audio.fetching.posting import Poster
from app.domain.meters import Meter
from app.domain.options import RecognitionOptions
from app.domain.transcript import Transcript
from app.service.jobs.job import ENDED, Face, Failure, Job, JobRequest, Notice, Webhook
from app.service.jobs.messages import Drawer, Message
from app.service.jobs.store import JobStore
from app.service.jobs.telling import Teller

HERE = ("127.0.0.0/8",)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SAID = "what nobody else may read"


@dataclass(frozen=True)
class Heard:
    """A request, and what it was answered; 0: nothing."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def says(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def state(self) -> str:
        return self.says["state"]

    def verify(self, secret: str | bytes) -> None:
        """That it was signed just now with this secret, by those who wrote the specification."""
        Verifier(secret).verify(self.body, self.headers)


Play: TypeAlias = Callable[["Receiver"], int]
"""Which status is answered; 0: the connection is reset. May take a while."""


class Receiver:
    """A server in threads of its own, which listens within the block."""

    def __init__(self, play: Play | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.play = play or (lambda _: 200)
        self.heard: list[Heard] = []
        self.headers: dict[str, str] = {}
        self.connections = 0
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self._server = _Server((host, port), _Handler, bind_and_activate=False)
        self._server.receiver = self
        self._server.server_bind()
        self.url = f"http://{host}:{self._server.server_address[1]}/hooks/path-7f3a?key=query-7f3a"
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def close(self) -> None:
        """For one that never listened: connections to its port were refused."""
        self._server.server_close()

    @property
    def took(self) -> list[Heard]:
        """What it has answered that it has taken."""
        return [one for one in self.heard if 200 <= one.status < 300]

    @property
    def states(self) -> list[str]:
        return [one.state for one in self.took]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version: ClassVar[str] = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        with self.server.receiver.lock:
            self.server.receiver.connections += 1

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["content-length"]))
        with receiver.lock:
            receiver.at_once += 1
            receiver.most_at_once = max(receiver.most_at_once, receiver.at_once)
        status = receiver.play(receiver)
        with receiver.lock:
            receiver.at_once -= 1
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.heard.append(Heard(self.path, headers, body, status, time.time()))
        with suppress(OSError):
            self._answer(status, receiver.headers)

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.close_connection = True
        if status == 0:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


def answering(*statuses: int) -> Play:
    """These in turn, and the last of them for ever after."""
    left = list(statuses)

    def play(receiver: Receiver) -> int:
        with receiver.lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return play


class Clock:
    """The real one, which can be moved on; once it is stopped, it stands still but for that."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._stopped: float | None = None

    def stop(self) -> None:
        self._stopped = time.time()

    def __call__(self) -> float:
        return (time.time() if self._stopped is None else self._stopped) + self.ahead


class Count(Meter):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, outcome: str) -> None:
        self.notices.append(outcome)


async def draw(notice: Notice, _: Callable[[], Awaitable[Transcript | None]]) -> Message:
    """What the receivers here are told: which job is in which state."""
    return Message(json.dumps({"job": notice.job.id, "state": notice.state}).encode(), "application/json")


class Office:
    """A store and those who tell owners what is in it. `late` has the pauses after which something was to be tried
    again; None where it was given up."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.late: list[float | None] = []
        self.meter = Count()
        self.store = _Watched(self, f"sqlite:///{folder / 'jobs.db'}", folder / "recordings", clock=self.clock)
        self._folder = folder

    async def job(self, url: str, secret: str = "", *, face: Face = "jobs", owner: str = "owner-1") -> Job:
        """A job that waits."""
        recording = self._folder / "recording"
        await asyncio.to_thread(recording.write_bytes, b"sound")
        webhook = Webhook(url, secret)
        request = JobRequest("model", RecognitionOptions(), name="a name", face=face, webhook=webhook)
        return (await self.store.submit(owner, request, recording)).job

    async def finish(self, *, failing: bool = False) -> None:
        """Have all jobs that wait run and end."""
        while lease := await self.store.lease("runner", ["model"]):
            if failing:
                assert await self.store.fail(lease, Failure("EngineFailure", "engine_failure", "It failed."))
            else:
                assert await self.store.succeed(lease, Transcript(SAID, "en", 1.0, "model"))

    @asynccontextmanager
    async def telling(
        self,
        *,
        drawer: Drawer = draw,
        networks: Collection[str] = HERE,
        retry_seconds: float = 86_400.0,
        poster: Poster | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> AsyncGenerator[Teller, None]:
        """One that tells owners within the block."""
        teller = Teller(
            self.store,
            {"jobs": drawer},
            networks=[ip_network(network) for network in networks],
            retry_seconds=retry_seconds,
            meter=self.meter,
            poster=poster,
            clock=self.clock,
            jitter=jitter,
            poll_seconds=0.02,
        )
        running = asyncio.create_task(teller.run())
        try:
            yield teller
        finally:
            await teller.close()
            await running


class _Watched(JobStore):
    """The store, which writes down when something is to be tried again."""

    def __init__(self, office: Office, url: str, folder: Path, *, clock: Clock) -> None:
        super().__init__(url, folder, clock=clock)
        self._office = office

    async def postpone(self, notice: Notice, seconds: float | None) -> None:
        await super().postpone(notice, seconds)
        self._office.late.append(seconds)


async def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for it."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is waited for happens in threads, too
            await asyncio.sleep(0.005)


def in_office(folder: Path, scenario: Callable[[Office], Awaitable[None]]) -> None:
    """`scenario` on a loop of its own, in limited time; nothing may be left running."""

    async def main() -> None:
        office = Office(folder)
        async with asyncio.timeout(240):
            await scenario(office)
            await office.store.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


STATES = ("queued", "running", "succeeded")
assert STATES[-1] in ENDED
