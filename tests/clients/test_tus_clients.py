"""The tus protocol's own clients against the real server: 64 MB of sound, though both of them are killed on the way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from audio.making import riff
from environments import interpreter, node_modules
from real.server import RealServer, start_server

from app.service.jobs.belonging import MARKER

HERE = Path(__file__).resolve().parent
KEY = "anna"
MEGABYTE = 1024 * 1024
SIZE = 64 * MEGABYTE
LONG = 240.0
"""Seconds that a busy machine may take for a start, or for 64 MB."""


class Place:
    """A server that comes back where it was, with what it has kept."""

    def __init__(self, models_dir: Path, folder: Path) -> None:
        self._models, self._folder, self._servers = models_dir, folder, list[RealServer]()
        self.jobs = folder / "jobs"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        self.base = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        folder = self._folder / str(len(self._servers))
        folder.mkdir()
        kept = {"JOBS_DIR": str(self.jobs), "DATA_DIR": str(self._folder / "data")}
        more = {"API_KEYS": KEY, "MAX_RUNNING_JOBS": "0", "PORT": str(self._port)}
        started = start_server(self._models, folder, **kept, **more)
        self._servers.append(RealServer(self.base, started.process, started.temp, started.log))

    def wait_until_ready(self) -> None:
        self._servers[-1].wait_until_ready(LONG)

    def kill(self) -> None:
        for server in self._servers:
            server.process.kill()
            server.process.wait()

    def log(self) -> str:
        return "".join(server.log.read_text() for server in self._servers)

    def stored(self) -> int:
        """Bytes of all uploads."""
        return sum(path.stat().st_size for path in self.jobs.glob("uploads/*/upload_*") if not path.suffix)

    def http(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {KEY}", "tus-resumable": "1.0.0"}
        return httpx.Client(base_url=self.base, headers=headers, timeout=LONG)


@pytest.fixture(scope="module")
def _place(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(models_dir, tmp_path_factory.mktemp("tus"))
    try:
        made.start()
        made.wait_until_ready()
        yield made
        assert "Traceback" not in made.log()
        assert "会议" not in made.log()
    finally:
        made.kill()


@pytest.fixture
def place(_place: Place) -> Iterator[Place]:
    yield _place
    shutil.rmtree(_place.jobs / "uploads", ignore_errors=True)  # what a test left that failed


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise, of which no two parts are alike."""
    noise = np.random.default_rng(6).integers(-3000, 3000, (SIZE - 44) // 2, dtype=np.int16)
    path = tmp_path_factory.mktemp("sound") / "noise.wav"
    path.write_bytes(riff(noise.tobytes(), rate=16_000))
    assert path.stat().st_size == SIZE
    return path


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def begun(processes: list[subprocess.Popen[str]], command: Sequence[object], **more: str) -> subprocess.Popen[str]:
    arguments = [str(part) for part in command]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | more
    )
    processes.append(process)
    return process


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://"), process.communicate()
    return url


def end_of(process: subprocess.Popen[str]) -> None:
    told, trouble = process.communicate(timeout=LONG)
    assert process.returncode == 0, trouble[-2000:]
    assert told.splitlines()[-1] == "done"


def digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def recordings(place: Place) -> list[Path]:
    """All that is kept of anybody's."""
    return [path for path in place.jobs.rglob("*") if path.is_file() and path.name != MARKER]


def becomes_a_job(place: Place, url: str, recording: Path) -> None:
    """What arrived is the recording, and a job of it is taken."""
    (file,) = (path for path in place.jobs.glob("uploads/*/upload_*") if not path.suffix)
    assert digest(file) == digest(recording)
    place.wait_until_ready()
    with place.http() as http:
        answer = http.post("/v1/jobs", json={"upload": url, "language": "en"})
        assert answer.status_code == 202, answer.text
        assert answer.json()["name"] == "会议.wav"
        assert http.head(url).status_code == 404
        assert [path.stat().st_size for path in recordings(place)] == [SIZE]
        assert http.delete(f"/v1/jobs/{answer.json()['id']}").status_code == 200
    assert recordings(place) == []


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.timeout(3 * LONG)
def test_pythons_client(place: Place, recording: Path, started: list[subprocess.Popen[str]], *, checked: bool) -> None:
    """It is killed; goes on by the address it was given; and its second run outlives the server's own death."""

    def play(url: str | None, chunk: int) -> subprocess.Popen[str]:
        given = {"endpoint": f"{place.base}/v1/jobs/uploads", "key": KEY, "file": str(recording), "url": url}
        script = HERE / "tus_play.py"
        return begun(started, [interpreter("tus"), script, json.dumps(given | {"chunk": chunk, "checked": checked})])

    first = play(None, 2 * MEGABYTE if checked else SIZE)
    url = url_of(first)
    wait_for(lambda: place.stored() > 5 * MEGABYTE, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    with place.http() as http:
        assert 0 < int(http.head(url).headers["upload-offset"]) < SIZE, "it was too fast to be interrupted"
    before = place.stored()

    second = play(url, 2 * MEGABYTE)
    assert url_of(second) == url
    wait_for(lambda: place.stored() > before + 5 * MEGABYTE, second)
    place.kill()
    assert place.stored() < SIZE, "it was too fast to be interrupted"
    place.start()
    end_of(second)
    becomes_a_job(place, url, recording)


@dataclass
class Node:
    """tus-js-client with a memory of its own."""

    place: Place
    recording: Path
    memory: Path
    started: list[subprocess.Popen[str]]

    def play(self, *, live: bool = False, **options: bool) -> subprocess.Popen[str]:
        given = {"endpoint": f"{self.place.base}/v1/jobs/uploads", "key": KEY, "file": str(self.recording)}
        # No part of 64 MB: at the end of a stream of whole chunks, the client waits for one more for ever.
        more = {"chunk": 3 * MEGABYTE, "memory": str(self.memory), "live": live, "options": options}
        command = ["node", HERE / "tus_js_play.cjs", json.dumps(given | more)]
        return begun(self.started, command, NODE_PATH=str(node_modules("tus_js")))


@pytest.fixture
def node(place: Place, recording: Path, tmp_path: Path, started: list[subprocess.Popen[str]]) -> Node:
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("no Node on this machine")
    memory = tmp_path / "memory"
    memory.write_text("{}")
    return Node(place, recording, memory, started)


@pytest.mark.parametrize("options", [{}, {"overridePatchMethod": True, "uploadDataDuringCreation": True}])
@pytest.mark.timeout(3 * LONG)
def test_javascripts_client(place: Place, node: Node, recording: Path, options: dict[str, bool]) -> None:
    """As above; it remembers by itself where it was."""
    first = node.play(**options)
    url = url_of(first)
    wait_for(lambda: place.stored() > 5 * MEGABYTE, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = place.stored()
    assert before < SIZE, "it was too fast to be interrupted"

    second = node.play(**options)
    assert url_of(second) == url
    wait_for(lambda: place.stored() > before + 5 * MEGABYTE, second)
    place.kill()
    assert place.stored() < SIZE, "it was too fast to be interrupted"
    place.start()
    end_of(second)
    becomes_a_job(place, url, recording)


@pytest.mark.timeout(3 * LONG)
def test_javascripts_client_with_a_stream_whose_length_nobody_knows(place: Place, node: Node, recording: Path) -> None:
    """It can be read once only, so here the server alone dies."""
    client = node.play(live=True)
    url = url_of(client)
    wait_for(lambda: place.stored() > 5 * MEGABYTE, client)
    place.kill()
    assert place.stored() < SIZE, "it was too fast to be interrupted"
    place.start()
    end_of(client)
    becomes_a_job(place, url, recording)
