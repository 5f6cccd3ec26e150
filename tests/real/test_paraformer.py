"""The real server with the small Paraformer: its own words to everybody, however many ask, and what it says of a model
folder that is broken."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from models.speech import RATE, say, utterances

from .scoring import wav_bytes
from .server import RealServer, start_server

CALLERS, ANSWERS, CLIPS = 8, 50, 24
PATH = "/v1/audio/transcriptions"


def recording(*parts: np.ndarray, pause: float = 0.5) -> bytes:
    """Speech with pauses between, in a quiet room."""
    gap = np.zeros(round(pause * RATE), np.float32)
    sound = np.concatenate([gap, *(one for part in parts for one in (part, gap))])
    noise = np.random.default_rng(len(sound)).standard_normal(len(sound)) * 3e-4
    return wav_bytes((np.clip(sound + noise, -1, 1) * 32767).astype(np.int16))


def serving(models_dir: Path, folder: Path, model: Path, **settings: str) -> RealServer:
    return start_server(
        models_dir,
        folder,
        ASR_MODEL="paraformer-large",
        ASR_MODEL_DIR_PARAFORMER_LARGE=str(model),
        SPEAKER_DIARIZATION="off",
        MAX_WAIT_SECONDS="600",
        **settings,
    )


@pytest.fixture(scope="module")
def server(models_dir: Path, shared_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    running = serving(models_dir, tmp_path_factory.mktemp("paraformer"), shared_models / "paraformer-tiny-onnx")
    try:
        running.wait_until_ready()
        yield running
        assert running.active() == 0
        assert running.stop(signal.SIGINT) in {0, 130}
        assert "Traceback" not in running.log.read_text()
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def http(server: RealServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base, timeout=300) as client:
        yield client


def ask(client: httpx.Client, sound: bytes, **form: str) -> httpx.Response:
    answer = client.post(PATH, files={"file": ("a.wav", sound)}, data=form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-asr-model"] == "paraformer-large"
    return answer


def test_a_recording_in_two_languages(http: httpx.Client) -> None:
    sound = recording(say("人工智能改变世界", "cmn+f4", speed=150), say("open the door", "en+m7", speed=150), pause=1.2)
    answer = ask(http, sound, response_format="verbose_json", **{"timestamp_granularities[]": "word"}).json()
    assert "人工智能" in answer["text"]
    assert "open the door" in answer["text"].lower()
    assert answer["language"] == "chinese"
    starts = [word["start"] for word in answer["words"]]
    assert starts == sorted(starts)
    assert 0 < starts[0] < 2.0
    assert answer["words"][-1]["end"] <= answer["duration"]


def test_hotwords_that_were_said_are_told(http: httpx.Client) -> None:
    sound = recording(say("人工智能改变世界", "cmn+f4", speed=150))
    answer = ask(http, sound, response_format="json", hotwords="人工智能 20 阿里巴巴 10").json()
    assert answer["hotwords"] == [{"text": "人工智能", "count": 1, "corrected": 0}]


def test_numbers_are_written_in_digits_unless_they_are_not_wanted(http: httpx.Client) -> None:
    digits = recording(say("三八六二", "cmn+m7", speed=140))
    words = ask(http, digits, response_format="text", itn="false").text.strip()
    if not set(words) <= set("零一二三四五六七八九") or len(words) < 2:
        pytest.skip(f"the small model hears {words!r}")
    assert ask(http, digits, response_format="text").text.strip().isdecimal()


def test_nothing_said_is_no_text(http: httpx.Client) -> None:
    quiet = np.random.default_rng(1).standard_normal(3 * RATE) * 3e-4
    assert ask(http, wav_bytes((quiet * 32767).astype(np.int16)), response_format="json").json()["text"] == ""


def test_what_it_cannot_do_is_refused_by_name(http: httpx.Client) -> None:
    sound = recording(say("hello world", "en+f4"))
    for field, value in (("prompt", "context"), ("temperature", "0.5"), ("language", "de"), ("punctuation", "true")):
        refused = http.post(PATH, files={"file": ("a.wav", sound)}, data={field: value})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, field), refused.text


@pytest.mark.timeout(900)
def test_eight_callers_get_the_words_they_would_get_alone(server: RealServer, http: httpx.Client) -> None:
    sounds = [recording(one.samples, pause=0.3) for one in utterances(CLIPS, 21)]
    form = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    alone = [ask(http, sound, **form).json() for sound in sounds]
    assert len({answer["text"] for answer in alone}) > CLIPS / 2, "clips that say the same prove nothing"

    def call(seed: int) -> list[int]:
        rng = random.Random(seed)
        order = [rng.randrange(CLIPS) for _ in range(ANSWERS)]
        with httpx.Client(base_url=server.base, timeout=300) as client:
            return [place for place in order if ask(client, sounds[place], **form).json() != alone[place]]

    with ThreadPoolExecutor(CALLERS) as callers:
        strange = list(callers.map(call, range(CALLERS)))
    assert strange == [[]] * CALLERS


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("model_quant.onnx", None, "model_quant.onnx is not a whole ONNX model"),
        ("am.mvn", b"", "am.mvn does not hold two rows of 560 numbers"),
        ("tokens.json", b'["<blank>", "<s>"', "tokens.json is not JSON"),
    ],
)
def test_a_broken_folder_is_told_and_the_service_lives(
    models_dir: Path, shared_models: Path, tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file in (shared_models / "paraformer-tiny-onnx").iterdir():
        shutil.copyfile(file, model / file.name)
    whole = (model / name).read_bytes()
    (model / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    (tmp_path / "server").mkdir()
    running = serving(models_dir, tmp_path / "server", model)
    try:
        state = failed_state(running)
        assert state["status"] == "failed"
        assert told in state["reason"]
        assert str(tmp_path) not in state["reason"]
        refused = httpx.post(f"{running.base}{PATH}", files={"file": ("a.wav", b"RIFF")})
        assert refused.status_code == 503
        assert told in refused.json()["error"]["message"]
        assert httpx.get(f"{running.base}/health/live").status_code == 200
        assert told in running.log.read_text()
        assert "Traceback" not in running.log.read_text()
    finally:
        running.process.kill()
        running.process.wait()


def failed_state(running: RealServer) -> dict[str, str]:
    """What /health/ready says once it has stopped loading."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = httpx.get(f"{running.base}/health/ready").json()
        except httpx.TransportError:
            state = {"status": "loading"}
        if state["status"] != "loading":
            return state
        time.sleep(0.2)
    pytest.fail(f"it goes on loading:\n{running.log.read_text()[-2000:]}")
