"""Several ports in a process of its own, as the server has them: what answers, and how it ends."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from real.server import ROOT

from app.ports import PortUnavailable, ServedApp, ServedTcp, serve_all
from app.service.connections import Door

_PROGRAM = """
import asyncio, contextlib, logging, sys, time
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from app.domain.errors import SpeechError
from app.ports import ServedApp, ServedTcp, serve_all
from app.service.giving_up import GivingUp
from app.service.lifecycle import Lifecycle

logging.basicConfig(level="INFO")
ports = [int(port) for port in sys.argv[1:]]

def told(what):
    print(what, flush=True)

@contextlib.asynccontextmanager
async def lifespan(app):
    told("begun")
    try:
        yield
    finally:
        told("ended")

async def quick(request):
    return PlainTextResponse(request.app.state.name)

async def slow(request):
    told("working")
    await asyncio.sleep(1.5)
    told("worked")
    return PlainTextResponse("slow " + request.app.state.name)

async def endless(request):
    told("working")
    await asyncio.sleep(600)

async def stuck(request):
    told("working")
    while True:
        time.sleep(0.05)  # between two of them Python looks for signals, which the system may give to other threads

async def events(request):
    async def some():
        yield b"data: one\\n\\n"
        await endless(request)
    return StreamingResponse(some(), media_type="text/event-stream")

lifecycle = Lifecycle()

def app(name, **more):
    paths = {"/": quick, "/slow": slow, "/endless": endless, "/stuck": stuck, "/events": events}
    made = Starlette(routes=[Route(path, how) for path, how in paths.items()], **more)
    made.state.name = name
    made.add_middleware(
        GivingUp,
        lifecycle=lifecycle,
        refuse=lambda error, scope: PlainTextResponse(error.code, 503),
        last_event=lambda error: b"data: " + error.code.encode() + b"\\n\\n",
    )
    return made

async def talk(reader, writer, ending):
    ended = asyncio.create_task(ending.wait())
    while True:
        asked = asyncio.create_task(reader.readline())
        await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
        line = asked.result().decode().strip() if asked.done() else ""
        asked.cancel()
        if not line:
            return
        if line == "broken":
            raise RuntimeError("as it was asked")
        if line != "quick":
            told("working")
            await asyncio.sleep(1.5 if line == "slow" else 600)
            told("worked")
        writer.write(f"{line} {'ending' if ending.is_set() else 'tcp'}\\n".encode())

main = ServedApp(app("main", lifespan=lifespan), "127.0.0.1", ports[0], "PORT")
other = ServedApp(app("other", lifespan=lifespan), "127.0.0.1", ports[1], "FUNASR_WS_PORT")
tcp = ServedTcp(talk, 1000, "127.0.0.1", ports[2], "WYOMING_PORT")
try:
    serve_all(main, [other, tcp], lifecycle=lifecycle)
except SpeechError as error:
    print(error.message, flush=True)
    sys.exit(2)
told("returned")
"""


@dataclass
class Program:
    process: subprocess.Popen[str]
    ports: tuple[int, int, int]
    """Of the main application, of the other one, of the plain protocol."""
    lines: list[str] = field(default_factory=list)

    def wait_for(self, line: str, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while line not in self.lines and time.monotonic() < deadline:
            time.sleep(0.02)
        assert line in self.lines, self.lines

    def wait_until_it_answers(self) -> None:
        for port in self.ports[:2]:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(f"http://127.0.0.1:{port}/")
                    break
                assert self.process.poll() is None, self.lines
                time.sleep(0.05)

    def accepts(self, place: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[place]), 2):
            return True
        return False

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """To the plain port, once it is served."""
        self.wait_until_it_answers()
        with socket.create_connection(("127.0.0.1", self.ports[2]), 20) as connection:
            yield connection


def _ask(connection: socket.socket, line: str) -> str:
    """The answer's line; "" where there is none."""
    connection.sendall(f"{line}\n".encode())
    return _answer(connection)


def _answer(connection: socket.socket) -> str:
    with contextlib.suppress(ConnectionError):
        return connection.makefile().readline().strip()
    return ""


def _free_ports() -> tuple[int, int, int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        one, two, three = (listener.getsockname()[1] for listener in listeners)
        return one, two, three


@contextlib.contextmanager
def _started(ports: tuple[int, int, int]) -> Iterator[Program]:
    command = [sys.executable, "-c", _PROGRAM, *map(str, ports)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    program = Program(process, ports)

    def follow() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            program.lines.append(line.rstrip("\n"))

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    try:
        yield program
    finally:
        process.kill()
        process.wait()
        reader.join(10)


@pytest.fixture
def program() -> Iterator[Program]:
    with _started(_free_ports()) as program:
        program.wait_until_it_answers()
        yield program


def test_each_port_answers_with_its_own_application_and_only_the_main_one_has_a_life(program: Program) -> None:
    answers = [httpx.get(f"http://127.0.0.1:{port}/").text for port in program.ports[:2]]

    assert answers == ["main", "other"]
    assert program.lines.count("begun") == 1


def test_each_further_port_is_named_once(program: Program) -> None:
    told = [line.partition("listening on port ")[2] for line in program.lines if "listening on port" in line]

    assert told == [f"{program.ports[1]}, too: FUNASR_WS_PORT", f"{program.ports[2]}, too: WYOMING_PORT"]


def test_a_port_answers_like_the_main_server_guarded_and_without_a_name(program: Program) -> None:
    for port in program.ports[:2]:
        assert "server" not in httpx.get(f"http://127.0.0.1:{port}/").headers
        answer = httpx.get(f"http://127.0.0.1:{port}/", headers={"x-large": "a" * 100_000})
        assert answer.status_code == 431
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("place", [0, 1])
def test_a_request_that_runs_when_sigterm_comes_is_answered_on_every_port(program: Program, place: int) -> None:
    answers: list[httpx.Response] = []
    url = f"http://127.0.0.1:{program.ports[place]}/slow"
    asking = threading.Thread(target=lambda: answers.append(httpx.get(url, timeout=20)))
    asking.start()
    program.wait_for("working")

    program.process.send_signal(signal.SIGTERM)
    status = program.process.wait(20)
    asking.join(10)

    assert answers[0].text == f"slow {['main', 'other'][place]}"
    assert status == -signal.SIGTERM
    assert program.lines.index("worked") < program.lines.index("ended"), "the main application ended under a request"


def test_no_port_accepts_anything_once_the_end_has_begun(program: Program) -> None:
    asking = threading.Thread(
        target=lambda: httpx.get(f"http://127.0.0.1:{program.ports[1]}/slow", timeout=20), daemon=True
    )
    asking.start()
    program.wait_for("working")
    program.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 10
    while any(program.accepts(place) for place in (0, 1, 2)) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert "worked" not in program.lines, "the ports were open until the last request was over"
    assert program.process.wait(20) == -signal.SIGTERM
    asking.join(10)


def test_sigint_lets_requests_end_and_then_returns(program: Program) -> None:
    answers: list[httpx.Response] = []
    url = f"http://127.0.0.1:{program.ports[1]}/slow"
    asking = threading.Thread(target=lambda: answers.append(httpx.get(url, timeout=20)))
    asking.start()
    program.wait_for("working")

    program.process.send_signal(signal.SIGINT)
    status = program.process.wait(20)
    asking.join(10)
    program.wait_for("returned")

    assert answers[0].text == "slow other"
    assert status == 0
    assert "ended" in program.lines


@pytest.mark.parametrize(
    ("path", "told"),
    [("/endless", (503, "server_ending")), ("/events", (200, "data: one\n\ndata: server_ending\n\n"))],
)
def test_a_second_sigint_gives_requests_up_at_once_with_an_answer_and_the_main_application_still_ends(
    program: Program, path: str, told: tuple[int, str]
) -> None:
    outcomes: list[tuple[int, str]] = []

    def ask() -> None:
        answer = httpx.get(f"http://127.0.0.1:{program.ports[1]}{path}", timeout=60)
        outcomes.append((answer.status_code, answer.text))

    asking = threading.Thread(target=ask)
    asking.start()
    program.wait_for("working")
    program.process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 10
    while program.accepts(1) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert program.process.poll() is None, "one signal was enough"

    program.process.send_signal(signal.SIGINT)
    status = program.process.wait(15)  # half of what requests are given
    asking.join(10)

    assert outcomes == [told]
    assert status == -signal.SIGINT
    program.wait_for("ended")
    assert not any("Traceback" in line for line in program.lines)


def test_a_second_signal_ends_what_cannot_be_interrupted(program: Program) -> None:
    asking = socket.create_connection(("127.0.0.1", program.ports[0]), 20)
    asking.sendall(b"GET /stuck HTTP/1.1\r\nHost: here\r\n\r\n")
    program.wait_for("working")

    program.process.send_signal(signal.SIGINT)
    program.process.send_signal(signal.SIGTERM)

    assert program.process.wait(15) in (-signal.SIGINT, -signal.SIGTERM)
    asking.close()


def test_a_plain_protocol_has_its_port_beside_them_and_a_broken_connection_is_its_own_matter(program: Program) -> None:
    with program.connected() as broken, program.connected() as other:
        assert _ask(broken, "broken") == ""
        assert _ask(other, "quick") == "quick tcp"
        assert _ask(other, "quick") == "quick tcp"
    with program.connected() as later:
        assert _ask(later, "quick") == "quick tcp"
    assert any("a connection to WYOMING_PORT failed" in line for line in program.lines)


@pytest.mark.parametrize(("how", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_a_plain_connection_that_is_busy_is_answered_at_the_end_and_an_idle_one_is_closed(
    program: Program, how: signal.Signals, status: int
) -> None:
    with program.connected() as busy, program.connected() as idle:
        busy.sendall(b"slow\n")
        program.wait_for("working")
        program.process.send_signal(how)

        assert _answer(idle) == ""
        assert "worked" not in program.lines, "the idle one was closed only when the other was over"
        assert _answer(busy) == "slow ending"
        assert program.process.wait(20) == status
    assert program.lines.index("worked") < program.lines.index("ended"), "the main application ended under a connection"


def test_a_second_sigint_gives_plain_connections_up_at_once(program: Program) -> None:
    with program.connected() as busy:
        busy.sendall(b"endless\n")
        program.wait_for("working")
        program.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 10
        while program.accepts(2) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert program.process.poll() is None, "one signal was enough"

        program.process.send_signal(signal.SIGINT)
        program.process.wait(15)  # half of what connections are given

        assert _answer(busy) == ""
    assert "ended" in program.lines


def test_a_port_that_is_taken_is_told_by_its_setting_before_anything_begins() -> None:
    free, _, other = _free_ports()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with _started((free, port, other)) as program:
            status = program.process.wait(30)
            program.wait_for(
                f"FUNASR_WS_PORT={port}: another program listens on this port. Stop it, or set another port."
            )

    assert status == 2
    assert "begun" not in program.lines
    with socket.create_server(("127.0.0.1", free)):
        pass  # what was already had is given back


def test_the_main_port_is_told_by_its_setting_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable, match=f"^PORT={port}: another program"):
            serve_all(ServedApp(_nothing, "127.0.0.1", port, "PORT"))


def test_two_settings_with_one_port_are_told_apart() -> None:
    port, _, _ = _free_ports()
    main = ServedApp(_nothing, "127.0.0.1", port, "PORT")

    with pytest.raises(PortUnavailable, match=f"FUNASR_WS_PORT={port} is the port of PORT, too"):
        serve_all(main, [ServedApp(_nothing, "127.0.0.1", port, "FUNASR_WS_PORT")])
    with pytest.raises(PortUnavailable, match=f"WYOMING_PORT={port} is the port of PORT, too"):
        serve_all(main, [ServedTcp(_nothing, 1000, "127.0.0.1", port, "WYOMING_PORT")])


@pytest.mark.parametrize(
    ("host", "told"), [("192.0.2.1", "HOST=192.0.2.1 is no address of this machine"), ("no such name", "is no address")]
)
def test_a_host_that_is_not_here_is_told(host: str, told: str) -> None:
    port, _, _ = _free_ports()

    with pytest.raises(PortUnavailable, match=told):
        serve_all(ServedApp(_nothing, host, port, "PORT"))


def test_an_address_is_told_by_its_own_setting() -> None:
    port, other, _ = _free_ports()

    with pytest.raises(PortUnavailable, match=r"^ODDASR_WS_HOST=192\.0\.2\.1 is no address of this machine"):
        serve_all(
            ServedApp(_nothing, "127.0.0.1", port, "PORT"),
            [ServedApp(_nothing, "192.0.2.1", other, "ODDASR_WS_PORT", "ODDASR_WS_HOST")],
        )


def test_a_name_with_several_addresses_is_served_at_each(tmp_path: Path) -> None:
    families = {info[0] for info in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)}
    ports = _free_ports()
    program = _PROGRAM.replace('"127.0.0.1"', '"localhost"')
    process = subprocess.Popen([sys.executable, "-c", program, *map(str, ports)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        for family in families:
            with socket.socket(family) as client:
                client.settimeout(10)
                client.connect(("::1" if family == socket.AF_INET6 else "127.0.0.1", ports[0]))
    finally:
        process.kill()
        process.wait()


def test_an_answer_has_the_date_of_its_own_moment_whenever_it_was_asked_for() -> None:
    door = Door()
    door.default_headers = [(b"date", b"when it was asked for")]
    held = door.default_headers  # as each request does

    door.default_headers = [(b"date", b"now")]

    assert held == [(b"date", b"now")]


async def _nothing(scope: object, receive: object, send: object) -> None:
    raise AssertionError("nobody asks")
