"""Models loaded, unloaded and freed while the server serves: the real server, small real models, and OpenAI's SDK."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from models.small_whisper import make_small_whisper
from openai import OpenAI
from openai.types import Model
from openai_server import serving
from real.scoring import read_wav, wav_bytes
from real.server import RealServer, start_server

KEY = "models-key-one"
FIRST, SECOND, ABSENT = "whisper-base", "paraformer-large", "paraformer-large-seaco"
TERABYTE = 1024**4


def running(models_dir: Path, folder: Path, second: Path, **settings: str) -> RealServer:
    return start_server(
        models_dir,
        folder,
        API_KEYS=KEY,
        ASR_MODEL_DIR_PARAFORMER_LARGE=str(second),
        SPEAKER_DIARIZATION="off",
        ASR_CHINESE_STYLE="false",
        MAX_WAIT_SECONDS="600",
        HF_HUB_OFFLINE="true",
        **settings,
    )


def stop(server: RealServer) -> None:
    server.process.kill()
    server.process.wait()


@pytest.fixture(scope="module")
def second(shared_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second model's folder, which a test may break for a while."""
    return Path(shutil.copytree(shared_models / "paraformer-tiny-onnx", tmp_path_factory.mktemp("models") / "second"))


@pytest.fixture(scope="module")
def house(models_dir: Path, second: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    small = make_small_whisper(tmp_path_factory.mktemp("models") / "small", models_dir / "whisper-base")
    folder = tmp_path_factory.mktemp("two")
    server = running(models_dir, folder, second, ASR_MODEL_DIR_WHISPER_BASE=str(small))
    try:
        server.wait_until_ready()
        yield server
        assert server.active() == 0
    finally:
        stop(server)


@pytest.fixture
def sdk(house: RealServer) -> Iterator[OpenAI]:
    """A client of the server with the first model alone; so it is left, too."""
    with OpenAI(base_url=f"{house.base}/v1", api_key=KEY, max_retries=2, timeout=60) as client:
        yield client
        load(client, FIRST)
        for model in client.models.list():
            if model.id != FIRST:
                client.models.delete(model.id)


@pytest.fixture(scope="module")
def clip(phone_call: Path) -> bytes:
    return wav_bytes(read_wav(phone_call / "sample.wav")[: 12 * 16_000])


def load(client: OpenAI, name: str) -> Model:
    return client.post(f"/models/{name}", cast_to=Model)


def ids(client: OpenAI) -> list[str]:
    return [model.id for model in client.models.list()]


def answered_by(client: OpenAI, model: str, clip: bytes) -> str:
    raw = client.audio.transcriptions.with_raw_response.create(file=("a.wav", clip), model=model, language="zh")
    return raw.headers["x-asr-model"]


def memory(base: str) -> dict[str, str]:
    return {one["model"]: one["state"] for one in httpx.get(f"{base}/health").json()["memory"]}


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)


def resident(server: RealServer) -> int:
    """MB of memory that the server's process holds."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found
    return int(found[1]) // 1024


# --- coming and going -------------------------------------------------------------------------------------------------


def test_a_model_is_loaded_answers_and_is_unloaded(house: RealServer, sdk: OpenAI, clip: bytes) -> None:
    assert ids(sdk) == [FIRST]
    first = load(sdk, SECOND)
    assert (first.id, first.object) == (SECOND, "model")
    assert load(sdk, SECOND).created == first.created, "it was there already"
    assert ids(sdk) == [FIRST, SECOND]
    assert memory(house.base) == {FIRST: "loaded", SECOND: "loaded"}
    assert [answered_by(sdk, name, clip) for name in (SECOND, FIRST, "whisper-1")] == [SECOND, FIRST, FIRST]

    gone = sdk.models.delete(SECOND)
    assert (gone.id, gone.object, gone.deleted) == (SECOND, "model", True)
    assert ids(sdk) == [FIRST]
    assert memory(house.base) == {FIRST: "loaded"}
    for ask in (lambda: answered_by(sdk, SECOND, clip), lambda: sdk.models.delete(SECOND)):
        with pytest.raises(openai.NotFoundError, match=f"is not loaded. Available: {FIRST}") as caught:
            ask()
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_the_next_model_takes_the_default_s_place_and_the_last_one_stays(
    house: RealServer, sdk: OpenAI, clip: bytes
) -> None:
    load(sdk, SECOND)
    sdk.models.delete(FIRST)
    assert [answered_by(sdk, name, clip) for name in ("whisper-1", SECOND)] == [SECOND, SECOND]
    health = httpx.get(f"{house.base}/health").json()
    assert (health["model"], health["models"]) == (SECOND, [SECOND])
    assert FIRST in health["model_reason"]
    with pytest.raises(openai.ConflictError, match="the only model") as caught:
        sdk.models.delete(SECOND)
    assert caught.value.code == "model_conflict"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.request.headers["x-stainless-retry-count"] == "0", "the SDK has not tried again"
    with pytest.raises(openai.NotFoundError, match="is not loaded"):
        answered_by(sdk, FIRST, clip)  # an id, not one of the names that mean the default
    load(sdk, FIRST)
    assert ids(sdk) == [SECOND, FIRST]


def test_what_has_begun_comes_to_its_end(house: RealServer, sdk: OpenAI, phone_call: Path) -> None:
    recording = wav_bytes(np.tile(read_wav(phone_call / "sample.wav"), 20))
    load(sdk, SECOND)

    def transcribe() -> Any:
        return sdk.audio.transcriptions.create(file=("a.wav", recording), model=SECOND, response_format="verbose_json")

    with ThreadPoolExecutor(2) as threads:
        begun = threads.submit(transcribe)
        until(lambda: httpx.get(f"{house.base}/health").json()["waiting_pieces"] > 0)
        deleting = threads.submit(sdk.models.delete, SECOND)
        until(lambda: memory(house.base).get(SECOND) == "unloading")
        assert not begun.done()
        assert ids(sdk) == [FIRST]
        with pytest.raises(openai.ConflictError, match="being unloaded"):
            load(sdk, SECOND)
        assert deleting.result().deleted
        # The answer has only to be drawn.
        assert begun.result(20).duration == pytest.approx(600, abs=1)
    assert memory(house.base) == {FIRST: "loaded"}


@pytest.mark.parametrize("name", ["nonesuch", "fsmn-vad", "no/such", "x" * 500])
def test_what_recognises_no_speech_is_not_loaded(sdk: OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError, match=f"Known: {FIRST}") as caught:
        load(sdk, name)
    assert len(caught.value.message) < 600


def test_what_is_not_on_this_machine_is_told_how_to_get(sdk: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=f"start.py models download {ABSENT}"):
        load(sdk, ABSENT)


def test_what_does_not_fit_into_memory_is_refused(sdk: OpenAI, second: Path) -> None:
    graph, aside = second / "model_quant.onnx", second / "aside"
    graph.rename(aside)
    try:
        with graph.open("wb") as stream:
            stream.truncate(2 * TERABYTE)  # takes no disk
        with pytest.raises(openai.ConflictError, match=r"needs about .* of memory") as caught:
            load(sdk, SECOND)
        assert caught.value.code == "not_enough_memory"
        graph.write_bytes(b"torn")
        with pytest.raises(openai.InternalServerError, match=r"model_quant\.onnx is not a whole ONNX model") as torn:
            load(sdk.with_options(max_retries=0), SECOND)
        assert str(second) not in torn.value.message
        assert ids(sdk) == [FIRST]
    finally:
        aside.replace(graph)
    assert load(sdk, SECOND).id == SECOND, "a failure is not remembered"


# --- who may ----------------------------------------------------------------------------------------------------------


def test_an_open_server_lets_nobody(tmp_path: Path) -> None:
    with serving(tmp_path, keys=()) as server, OpenAI(base_url=f"{server.base}/v1", api_key="any") as client:
        for ask in (lambda: load(client, "able"), lambda: client.models.delete("able")):
            with pytest.raises(openai.PermissionDeniedError, match="API_KEYS") as caught:
                ask()
            assert caught.value.code == "permission_denied"


def test_a_wrong_key_is_no_key(house: RealServer) -> None:
    with OpenAI(base_url=f"{house.base}/v1", api_key="wrong") as client:
        for ask in (lambda: load(client, SECOND), lambda: client.models.delete(FIRST)):
            with pytest.raises(openai.AuthenticationError):
                ask()
    assert memory(house.base) == {FIRST: "loaded"}


# --- at start, and when nobody asks -----------------------------------------------------------------------------------


def test_more_at_start_and_less_when_nobody_asks(models_dir: Path, second: Path, tmp_path: Path, clip: bytes) -> None:
    """The real Whisper: its memory goes back to the system, and comes back with the same words."""
    extra = f"{SECOND}, nonesuch, {ABSENT}, {FIRST}"
    server = running(models_dir, tmp_path, second, AUTO_LOAD_CUSTOM_ASR_MODELS=extra, ASR_IDLE_UNLOAD_SECONDS="2")
    try:
        server.wait_until_ready()
        with OpenAI(base_url=f"{server.base}/v1", api_key=KEY, max_retries=0, timeout=60) as client:
            until(lambda: ids(client) == [FIRST, SECOND])
            failed = {"nonesuch": "failed", ABSENT: "failed"}
            until(lambda: failed.items() <= memory(server.base).items())
            reasons = {one["model"]: one["reason"] for one in httpx.get(f"{server.base}/health").json()["memory"]}
            assert reasons[FIRST] is None
            assert "does not exist" in reasons["nonesuch"]
            assert "AUTO_LOAD_CUSTOM_ASR_MODELS: nonesuch is not served" in server.log.read_text()

            said = client.audio.transcriptions.create(file=("a.wav", clip), model=FIRST, language="en").text
            full = resident(server)
            assert memory(server.base)[FIRST] == "loaded"
            until(lambda: memory(server.base) == {FIRST: "idle", SECOND: "idle", **failed})
            assert ids(client) == [FIRST, SECOND], "an idle model answers"
            assert full - resident(server) > 60, "MB; the allocator alone returns 25"
            assert httpx.get(f"{server.base}/health/ready").status_code == 200

            again = f"{FIRST} is loaded again"
            before = server.log.read_text().count(again)
            with ThreadPoolExecutor(4) as threads:
                asked = [
                    threads.submit(
                        client.audio.transcriptions.create, file=("a.wav", clip), model="whisper-1", language="en"
                    )
                    for _ in range(4)
                ]
                assert {one.result().text for one in asked} == {said}
            assert server.log.read_text().count(again) == before + 1, "one load for all of them"
        assert "Traceback" not in server.log.read_text()
    finally:
        stop(server)
