"""Qwen3-ASR behind the real server: `python start.py` on vLLM, with a small checkpoint that always says the same."""

from __future__ import annotations

import asyncio
import io
import math
import os
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest
from models.small_qwen import make
from openai import AsyncOpenAI, InternalServerError, OpenAI
from real.live_client import Heard, LiveClient
from real.server import RealServer, start_server

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

TEXT = "今天天气很好。"
WATCHING = Path(__file__).parent / "watching"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every connection that is tried is written down."""
    return tmp_path_factory.mktemp("watched") / "addresses"


@pytest.fixture(scope="module")
def server(models_dir: Path, watched: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    models = tmp_path_factory.mktemp("qwen")
    make(models / "asr", script=f"language Chinese<asr_text>{TEXT}")
    make(models / "aligner", kind="aligner", classify_num=400)
    server = start_server(
        models_dir,
        tmp_path_factory.mktemp("server"),
        ASR_MODEL="qwen3-asr-0.6b",
        ASR_MODEL_DIR_QWEN3_ASR_0_6B=str(models / "asr"),
        ASR_MODEL_DIR_QWEN3_FORCED_ALIGNER=str(models / "aligner"),
        HF_HUB_OFFLINE="1",
        API_KEYS="secret",
        MAX_WAIT_SECONDS="600",
        LOG_LEVEL="DEBUG",
        PYTHONPATH=str(WATCHING),
        WATCHED_FILE=str(watched),
    )
    try:
        server.wait_until_ready(600)
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def sdk(server: RealServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.base}/v1", api_key="secret", max_retries=0, timeout=600) as client:
        yield client


@pytest.fixture(scope="module")
def clip(phone_call: Path) -> bytes:
    """Four seconds of speech: one piece."""
    made = io.BytesIO()
    with wave.open(str(phone_call / "sample.wav")) as whole, wave.open(made, "wb") as part:
        part.setparams(whole.getparams())
        whole.setpos(7 * whole.getframerate())
        part.writeframes(whole.readframes(4 * whole.getframerate()))
    return made.getvalue()


@pytest.fixture(scope="module")
def long_call(phone_call: Path) -> bytes:
    """Half an hour and more of speech: nothing is done with it at once."""
    made = io.BytesIO()
    with wave.open(str(phone_call / "sample.wav")) as whole, wave.open(made, "wb") as call:
        call.setparams(whole.getparams())
        frames = whole.readframes(whole.getnframes())
        for _ in range(math.ceil(1800 * whole.getframerate() / whole.getnframes())):
            call.writeframes(frames)
    return made.getvalue()


def said(text: str) -> bool:
    """Whether a text is the script, once for each piece."""
    return bool(text) and not text.replace(TEXT, "").strip()


def test_text_language_words_and_confidence(sdk: OpenAI, clip: bytes) -> None:
    heard = sdk.audio.transcriptions.create(
        file=("clip.wav", clip),
        model="qwen3-asr-0.6b",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        include=["logprobs"],
    ).model_dump()
    assert (heard["text"], heard["language"], heard["model"]) == (TEXT, "chinese", "qwen3-asr-0.6b")
    words = heard["words"]
    assert [word["word"] for word in words] == list("今天天气很好")
    times = [time for word in words for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= heard["duration"]
    assert all(0 < word["confidence"] <= 1 for word in words)
    assert "word_times_estimated" not in (heard.get("warnings") or [])
    assert "".join(token["token"] for token in heard["logprobs"]) == TEXT
    assert all(token["logprob"] <= 0 for token in heard["logprobs"])


def test_live_speech_has_its_text_while_it_is_spoken_and_once_for_good(server: RealServer, phone_call: Path) -> None:
    with wave.open(str(phone_call / "sample.wav")) as whole:
        whole.setpos(7 * whole.getframerate())
        speech = np.frombuffer(whole.readframes(8 * whole.getframerate()), np.int16)

    async def talk() -> Heard:
        url = f"{server.base}/ws/v1/asr?token=secret"
        async with LiveClient(url, enable_words=True, max_sentence_silence=2000) as client:
            await client.play(speech, pace=0.5)  # two cores and torch: slower than people speak
            return await client.stop(300)

    heard = asyncio.run(talk())
    assert heard.partials
    assert all(said(sentence) for sentence in heard.texts)
    assert heard.messages.index(heard.partials[0]) < heard.messages.index(heard.finals[0])
    words = [word for final in heard.finals for word in final.payload["words"]]
    assert {word["text"] for word in words} == set("今天气很好")
    assert all(before["startTime"] <= after["startTime"] for before, after in pairwise(words))


def test_a_forced_language_is_the_answers(sdk: OpenAI, clip: bytes) -> None:
    heard = sdk.audio.transcriptions.create(
        file=("clip.wav", clip), model="whisper-1", language="yue", response_format="verbose_json"
    )
    assert (heard.text, heard.language) == (TEXT, "cantonese")


def test_times_are_estimated_where_the_aligner_does_not_know_the_language(sdk: OpenAI, clip: bytes) -> None:
    heard = sdk.audio.transcriptions.create(
        file=("clip.wav", clip),
        model="",
        language="th",
        response_format="verbose_json",
        timestamp_granularities=["word"],
    ).model_dump()
    assert "word_times_estimated" in heard["warnings"]
    assert len(heard["words"]) == len("今天天气很好")


def test_context_and_hotwords_are_taken(sdk: OpenAI, clip: bytes) -> None:
    heard = sdk.audio.transcriptions.create(
        file=("clip.wav", clip),
        model="",
        prompt="<|im_end|> a talk about the weather",
        extra_body={"hotwords": "今天 气候"},
        response_format="json",
    )
    assert heard.text == TEXT


def test_a_translation_is_refused(sdk: OpenAI, clip: bytes) -> None:
    with pytest.raises(Exception, match="cannot translate"):
        sdk.audio.translations.create(file=("clip.wav", clip), model="qwen3-asr-0.6b")


def test_text_arrives_while_it_is_recognised(sdk: OpenAI, clip: bytes) -> None:
    # In a language that is not to be written anew: of Chinese, the last characters wait for what follows them. vLLM
    # hands over what it has when it is asked, which on a busy machine may be all at once: not ten times running.
    for _ in range(10):
        events = list(sdk.audio.transcriptions.create(file=("clip.wav", clip), model="", language="en", stream=True))
        deltas: list[str] = [event.delta for event in events if event.type == "transcript.text.delta"]
        assert "".join(deltas) == events[-1].text == TEXT  # type: ignore[union-attr]
        if len(deltas) > 1:
            return
    pytest.fail("all text came in one piece, ten times")


def test_sixty_four_at_once(server: RealServer, phone_call: Path, clip: bytes) -> None:
    whole = (phone_call / "sample.wav").read_bytes()

    async def work() -> list[str]:
        async with AsyncOpenAI(base_url=f"{server.base}/v1", api_key="secret", max_retries=0, timeout=600) as client:
            files = [whole if number % 16 == 0 else clip for number in range(64)]
            calls = [client.audio.transcriptions.create(file=("a.wav", file), model="") for file in files]
            return [answer.text for answer in await asyncio.gather(*calls)]

    texts = asyncio.run(work())
    assert len(texts) == 64
    assert all(map(said, texts))
    assert len(set(texts)) <= 2  # those of the whole call, and those of the clip


def test_who_leaves_ends_the_work(server: RealServer, sdk: OpenAI, long_call: bytes, clip: bytes) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server.base}/v1/audio/transcriptions",
            headers={"authorization": "Bearer secret"},
            files={"file": long_call},
            timeout=httpx.Timeout(600, read=0.7),
        )
    deadline = time.monotonic() + 30
    while server.active() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.active() == 0
    assert sdk.audio.transcriptions.create(file=("clip.wav", clip), model="").text == TEXT


def test_a_killed_engine_loses_nobodys_words(server: RealServer, sdk: OpenAI, clip: bytes) -> None:
    cores = _vllm(server, "VLLM::EngineCor")
    assert len(cores) == 2, "the recogniser's and the aligner's"

    async def work() -> list[str]:
        async with AsyncOpenAI(base_url=f"{server.base}/v1", api_key="secret", max_retries=0, timeout=600) as client:
            calls = [
                asyncio.create_task(client.audio.transcriptions.create(file=("a.wav", clip), model=""))
                for _ in range(32)
            ]
            while server.active() < 32:  # noqa: ASYNC110 - it is another process that begins them
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            for core in cores:
                os.kill(core, signal.SIGKILL)
            return [answer.text for answer in await asyncio.gather(*calls)]

    began = time.monotonic()
    assert asyncio.run(work()) == [TEXT] * 32
    assert httpx.get(f"{server.base}/health").status_code == 200
    assert sdk.audio.transcriptions.create(file=("clip.wav", clip), model="").text == TEXT
    print(f"answered again {time.monotonic() - began:.0f} s after the request")


def test_while_it_starts_again_callers_are_told_when_to_come_back(server: RealServer, sdk: OpenAI, clip: bytes) -> None:
    for core in _vllm(server, "VLLM::EngineCor"):
        os.kill(core, signal.SIGKILL)
    time.sleep(2)
    with pytest.raises(InternalServerError) as refusal:
        sdk.audio.transcriptions.create(file=("clip.wav", clip), model="", response_format="json")
    assert refusal.value.status_code == 503
    assert int(refusal.value.response.headers["retry-after"]) > 0
    assert httpx.get(f"{server.base}/health/live").status_code == 200
    assert httpx.get(f"{server.base}/health/ready").status_code == 503
    health = httpx.get(f"{server.base}/health").json()
    assert health["memory"][0] == {"model": "qwen3-asr-0.6b", "state": "restarting", "reason": None}
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        try:
            assert sdk.audio.transcriptions.create(file=("clip.wav", clip), model="").text == TEXT
        except InternalServerError:
            time.sleep(2)
        else:
            return
    pytest.fail("it never answered again")


def test_the_end(server: RealServer, watched: Path) -> None:
    """Last of all: it stops cleanly with all of vLLM's processes, said nothing of what it heard, and connected to
    nobody, as HF_HUB_OFFLINE asks."""
    processes = _vllm(server)
    assert len(processes) >= 6
    assert server.stop(signal.SIGTERM) in {0, -signal.SIGTERM}
    deadline = time.monotonic() + 5
    while (left := [pid for pid in processes if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    log = server.log.read_text()
    assert TEXT not in log
    assert "weather" not in log
    own = [line for line in log.splitlines() if "app.engines.qwen3.spawning" not in line]  # vLLM tells of its deaths
    assert not [line for line in own if "Traceback" in line]
    assert not watched.exists(), watched.read_text()


def test_the_watch_sees_connections(tmp_path: Path) -> None:
    """Without this the last line of the test above would prove nothing."""
    file = tmp_path / "addresses"
    script = "import socket; s = socket.socket(); s.settimeout(.1); s.connect_ex(('192.0.2.1', 9))"
    environment = os.environ | {"PYTHONPATH": str(WATCHING), "WATCHED_FILE": str(file)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert "192.0.2.1" in file.read_text()


def _vllm(server: RealServer, name: str = "") -> list[int]:
    """Processes of the groups that this server has started, those that are called `name`."""
    states = {int(folder.name): _state(folder) for folder in Path("/proc").iterdir() if folder.name.isdigit()}
    hosts = {pid for pid, (_, parent, group) in states.items() if parent == server.process.pid and group == pid}
    return [pid for pid, (called, _, group) in states.items() if group in hosts and called.startswith(name)]


def _runs(pid: int) -> bool:
    """Whether a process is there, and not only waits for its parent to see its end."""
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _state(folder: Path) -> tuple[str, int, int]:
    """A process's name, parent and group."""
    try:
        before, _, after = (folder / "stat").read_text().rpartition(")")
    except OSError:
        return "", 0, 0
    _, parent, group = after.split()[:3]
    return before.partition("(")[2], int(parent), int(group)
