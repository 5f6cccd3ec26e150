"""Two real replicas behind nginx, replaced one after the other by the script that is shipped, while they are asked:
nobody notices."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from models.small_whisper import make_small_whisper
from real.scoring import read_wav, wav_bytes
from real.server import ROOT, RealServer, start_server

from tools.dialects.aliyun import LiveClient
from tools.dialects.hearing import StreamFailedError, Wishes

from .compose import MAIN, filled_in, services
from .fake_docker import docker
from .proxy import Nginx, free_ports, running

RATE = 16_000
CLIP = (17.8, 20.2)
"""A stretch of the phone call, in seconds."""
PAUSE = 2
"""Seconds between two sentences."""
SLIVER = 0.3
"""Seconds at the end of a sentence that are no speech any more."""
SERVICE_RESTART = 1012
ROUNDS = 1
SETTINGS = {
    "SHUTDOWN_SECONDS": "9",  # streams that do not end are to be told to
    "ASR_CHINESE_STYLE": "false",
    "SPEAKER_DIARIZATION": "off",
    "MAX_WAIT_SECONDS": "600",
    "ASR_ENABLE_NEARFIELD_FILTER": "false",
}


def composed(name: str) -> str:
    """A setting of the server as docker-compose.yml has it."""
    return filled_in(services(MAIN)["app"]["environment"][name])


@dataclass
class Replica:
    """One service of compose: a process that is started anew at the same port."""

    models_dir: Path
    small: Path
    folder: Path
    port: int
    starts: int = 0
    server: RealServer | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.starts += 1
        folder = self.folder / str(self.starts)
        folder.mkdir(parents=True)
        own = {"SHUTDOWN_DELAY_SECONDS": composed("SHUTDOWN_DELAY_SECONDS")}
        own["ASR_MODEL_DIR_WHISPER_BASE"] = str(self.small)
        started = start_server(self.models_dir, folder, PORT=str(self.port), **SETTINGS, **own)
        self.server = replace(started, base=f"http://{self.address}")

    def stop(self) -> None:
        """As docker does it; nothing may be left behind."""
        assert self.server is not None
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.wait(60)
        assert list(self.server.temp.iterdir()) == []
        assert "Traceback" not in self.server.log.read_text()

    def kill(self) -> None:
        if self.server is not None:
            self.server.process.kill()
            self.server.process.wait()


@dataclass
class Load:
    """Clients that ask until `over` is set. `failed` tells what they should not have seen."""

    base: str
    wav: bytes
    text: str
    over: asyncio.Event = field(default_factory=asyncio.Event)
    failed: list[str] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)

    async def keep_asking(self, kind: str, ask: Callable[[], Awaitable[str]]) -> None:
        while not self.over.is_set():
            try:
                text = await ask()
                if text != self.text:
                    self.failed.append(f"{kind}: {text!r}")
            except (httpx.HTTPError, AssertionError) as error:
                self.failed.append(f"{kind}: {error!r}")
            self.asked[kind] = self.asked.get(kind, 0) + 1

    async def upload(self, http: httpx.AsyncClient) -> str:
        form = {"response_format": "json", "language": "en"}
        answer = await http.post(self._address, data=form, files={"file": ("a.wav", self.wav)})
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
        return str(answer.json()["text"])

    async def upload_anew(self) -> str:
        async with httpx.AsyncClient(timeout=120) as http:
            return await self.upload(http)

    async def events(self) -> str:
        form = {"response_format": "json", "language": "en", "stream": "true"}
        async with (
            httpx.AsyncClient(timeout=120) as http,
            http.stream("POST", self._address, data=form, files={"file": ("a.wav", self.wav)}) as answer,
        ):
            assert answer.status_code == 200, f"{answer.status_code}: {await answer.aread()!r}"
            found = [json.loads(line[6:]) async for line in answer.aiter_lines() if line.startswith("data: {")]
        assert found, "no event came"
        assert found[-1]["type"] == "transcript.text.done", found[-1]
        return str(found[-1]["text"])

    @property
    def _address(self) -> str:
        return f"{self.base}/v1/audio/transcriptions"


Stretch = tuple[float, float]
"""Beginning and end, in seconds."""


@dataclass
class Speaker:
    """Somebody who says the same again and again, and when the server restarts goes on in a new stream, from where the
    last text ended. `missed` is what was said and is in no text."""

    base: str
    clip: np.ndarray
    said: int = 0
    restarts: int = 0
    missed: list[Stretch] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    async def talk(self, over: asyncio.Event) -> None:
        sentence = np.concatenate([self.clip, np.zeros(PAUSE * RATE, np.int16)])
        sent, spoken = self.clip[:0], list[Stretch]()
        while not over.is_set() or spoken:
            session = LiveClient(self.base, Wishes(language="en", guesses=False))
            heard_all = False
            try:
                async with session:
                    await session.play(sent, 2.0)
                    while not over.is_set():
                        spoken.append((len(sent) / RATE, (len(sent) + len(self.clip)) / RATE))
                        sent = np.concatenate([sent, sentence])
                        self.said += 1
                        await session.play(sentence, 1.0)
                    await session.stop(60)
                    heard_all = True
            except StreamFailedError as error:
                if error.status != SERVICE_RESTART:
                    self.failed.append(repr(error))
                    return
                self.restarts += 1
            texts = [(one.start or 0.0, one.time or 0.0) for one in session.heard.sentences if one.text]
            heard = len(sent) / RATE if heard_all else max((end for _, end in texts), default=0.0)
            self.missed += [one for one in spoken if one[1] <= heard and not covered(one, texts)]
            spoken = [(max(begin - heard, 0.0), end - heard) for begin, end in spoken if end > heard + SLIVER]
            sent = sent[round(heard * RATE) :]


def covered(one: Stretch, texts: Sequence[Stretch]) -> bool:
    """Whether texts stand for at least half of it: it begins and ends with a little silence."""
    return sum(max(0.0, min(end, one[1]) - max(begin, one[0])) for begin, end in texts) >= (one[1] - one[0]) / 2


@pytest.fixture
def replicas(models_dir: Path, tmp_path: Path) -> Iterator[dict[str, Replica]]:
    """With the small model: what is looked at is connections, and the more there are the better."""
    small = make_small_whisper(tmp_path / "small", models_dir / "whisper-base")
    found = {
        name: Replica(models_dir, small, tmp_path / name, port)
        for name, port in zip(("app", "app1"), free_ports(2), strict=True)
    }
    try:
        for one in found.values():
            one.start()
        for one in found.values():
            assert one.server is not None
            one.server.wait_until_ready()
        yield found
    finally:
        for one in found.values():
            one.kill()


async def compose(replicas: dict[str, Replica], said: Sequence[str]) -> tuple[int, str]:
    """What docker compose does of what the script asks for."""
    words = [word for word in said if word not in {"compose", "-f", "docker-compose.yml", "docker-compose.gpus.yml"}]
    if words[:2] == ["config", "--services"]:
        return 0, "app\napp1\nnginx\nprepare\n"
    if words[0] == "ps":
        return 0, "".join(f"{name} healthy\n" for name in replicas)
    one = replicas[words[-1]]
    if words[0] == "stop":
        await asyncio.to_thread(one.stop)
        return 0, ""
    assert words[0] == "up"
    assert {"-d", "--no-deps", "--wait"} < set(words)
    one.start()
    assert one.server is not None
    await asyncio.to_thread(one.server.wait_until_ready)
    return 0, ""


async def update(replicas: dict[str, Replica], nginx: Nginx, clip: np.ndarray, folder: Path) -> Load:
    """Ask all the time while the script replaces both, `ROUNDS` times."""
    load = Load(nginx.base, wav_bytes(clip), "")
    load.text = await load.upload_anew()
    speaker = Speaker(nginx.base, clip)
    script = [ROOT / "docker" / "rolling_update.sh", "-f", "docker-compose.yml", "-f", "docker-compose.gpus.yml"]
    async with httpx.AsyncClient(timeout=120) as kept, docker(folder, lambda said: compose(replicas, said)) as programs:
        asking = [
            asyncio.create_task(load.keep_asking("new connections", load.upload_anew)),
            asyncio.create_task(load.keep_asking("a kept connection", lambda: load.upload(kept))),
            asyncio.create_task(load.keep_asking("events", load.events)),
            asyncio.create_task(speaker.talk(load.over)),
        ]
        try:
            for _ in range(ROUNDS):
                environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
                running_script = await asyncio.create_subprocess_exec(*script, env=environment, cwd=ROOT)
                assert await running_script.wait() == 0
        finally:
            load.over.set()
            await asyncio.gather(*asking)
    print(f"asked {load.asked}; said {speaker.said} sentences, {speaker.restarts} restarts of the stream")
    assert speaker.failed == []
    assert speaker.missed == []
    assert speaker.restarts > 0, "no stream was there to be ended"
    return load


@pytest.mark.parametrize(
    ("failing", "told"),
    [
        ("config", "docker compose does not say which services there are"),
        ("ps", "docker compose does not say who is healthy"),
    ],
)
def test_what_docker_cannot_say_ends_it(tmp_path: Path, failing: str, told: str) -> None:
    """Before anything is stopped; and its failure is not taken for an answer."""
    asked: list[str] = []

    async def fail(said: Sequence[str]) -> tuple[int, str]:
        asked.append(said[1])
        return (7, "app\napp1\n") if said[1] == failing else (0, "app\napp1\n")

    async def run() -> tuple[int | None, str]:
        async with docker(tmp_path, fail) as programs:
            environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
            script = ROOT / "docker" / "rolling_update.sh"
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(script, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe)
            _, errors = await process.communicate()
            return process.returncode, errors.decode()

    status, errors = asyncio.run(run())
    assert status == 1
    assert told in errors
    assert "stop" not in asked


@pytest.mark.timeout(400)
def test_nobody_notices(replicas: dict[str, Replica], phone_call: Path, tmp_path: Path) -> None:
    clip = read_wav(phone_call / "sample.wav")[round(CLIP[0] * RATE) : round(CLIP[1] * RATE)]
    servers = [one.address for one in replicas.values()]
    with running(tmp_path / "nginx", servers) as nginx:
        load = asyncio.run(update(replicas, nginx, clip, tmp_path))
        statuses = set(re.findall(r" (\d{3}) sent=", nginx.log.read_text()))
    assert load.failed == []
    assert statuses == {"200", "101"}
    assert [one.starts for one in replicas.values()] == [1 + ROUNDS, 1 + ROUNDS]
    assert min(load.asked.values()) > ROUNDS
