"""Models freed and loaded again around requests: what engines are made to do that real ones only do by bad luck."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from house import ENGLISH, House, furnished, transcribed
from pipeline.stubs import StubContinuousRecognizer, StubRecognizer
from pipeline.test_batching import until

from app.domain.engines import Recognizer
from app.domain.errors import DeadlineExceeded, EngineFailure, ModelConflict, ModelUnavailable, UnknownModel
from app.engines import paraformer
from app.modelstore.catalog import ModelEntry
from app.service import residents
from app.service.loading import load_recognizer
from app.service.models import Models
from app.service.service import SpeechService
from app.settings import Settings

FIRST, SECOND = "whisper-base", "paraformer-large"
SOON = 0.15
"""Seconds after which a model is idle; a test waits for what happens, not for this time."""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return furnished(tmp_path, monkeypatch)


@pytest.fixture
def second(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StubRecognizer:
    """A second model of this machine, loaded when it is asked for."""
    made = StubRecognizer(id=SECOND)

    def load(entry: ModelEntry, folder: Path, settings: Settings, companions: Mapping[str, Path]) -> Recognizer:
        house.loading()
        return made if entry.id == SECOND else house.recognizer

    monkeypatch.setenv("ASR_MODEL_DIR_PARAFORMER_LARGE", str(tmp_path))
    monkeypatch.setattr(residents, "load_recognizer", load)
    return made


def state(service: SpeechService, model: str = FIRST) -> str:
    return {one.id: one.state for one in service.states()}.get(model, "gone")


async def idle(service: SpeechService) -> None:
    await until(lambda: state(service) == "idle")


async def told(client: httpx.AsyncClient, expected: dict[str, object]) -> None:
    """Wait until /health says so."""
    async with asyncio.timeout(10):
        while True:
            body = (await client.get("/health")).json()
            if expected.items() <= body.items():
                return
            await asyncio.sleep(0.01)


# --- idle -------------------------------------------------------------------------------------------------------------


def test_what_is_in_use_is_not_idle(house: House) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        begun = asyncio.create_task(transcribed(service, house.sound))
        await until(lambda: len(house.recognizer.calls) == 1)
        house.recognizer.closed = False  # it may have been idle before
        await asyncio.sleep(4 * SOON)
        assert (state(service), house.recognizer.closed) == ("loaded", False)
        assert (await house.recognizer.let_go_until(begun)).text
        await idle(service)
        assert house.recognizer.closed

    house.run(scenario, asr_idle_unload_seconds=SOON)


def test_a_call_that_nobody_waits_for_ends_before_the_model_is_freed(house: House) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        begun = asyncio.create_task(transcribed(service, house.sound))
        await until(lambda: len(house.recognizer.calls) == 1)
        house.recognizer.closed = False
        begun.cancel()
        await asyncio.gather(begun, return_exceptions=True)
        await asyncio.sleep(4 * SOON)
        assert not house.recognizer.closed, "a thread is inside"
        house.recognizer.release(100)
        await idle(service)
        assert house.recognizer.closed

    house.run(scenario, asr_idle_unload_seconds=SOON)


def test_several_requests_wait_for_one_load(house: House) -> None:
    loads, gate = [], threading.Event()

    def load() -> None:
        loads.append(1)
        if len(loads) > 1:
            assert gate.wait(10)

    house.loading = load

    async def scenario(service: SpeechService) -> None:
        await idle(service)
        assert [model.id for model in service.models()] == [FIRST]
        begun = [asyncio.create_task(transcribed(service, house.sound)) for _ in range(3)]
        await until(lambda: state(service) == "loading" and len(loads) == 2)
        gone = begun.pop()
        gone.cancel()
        gate.set()
        assert [(await one).model for one in begun] == [FIRST, FIRST], "one that left ends no load"
        assert len(loads) == 2

    house.run(scenario, asr_idle_unload_seconds=SOON)


@pytest.mark.parametrize("error", [EngineFailure("the card is full"), ZeroDivisionError("secret")])
def test_a_load_that_fails_is_an_answer_and_the_next_request_tries_again(house: House, error: Exception) -> None:
    failing = False

    def load() -> None:
        if failing:
            raise error

    house.loading = load

    async def scenario(client: httpx.AsyncClient) -> None:
        nonlocal failing

        await told(client, {"memory": [{"model": FIRST, "state": "idle", "reason": None}]})
        failing = True
        answers = await asyncio.gather(house.post(client), house.post(client))
        assert [(one.status_code, one.headers["retry-after"]) for one in answers] == [(503, "5")] * 2
        message = answers[0].json()["error"]["message"]
        assert message.startswith(f"{FIRST} could not be loaded again")
        assert ("the card is full" in message, "secret" in message) == (isinstance(error, EngineFailure), False)
        failing = False
        assert (await house.post(client)).status_code == 200

    house.serve(scenario, asr_idle_unload_seconds=SOON)


def test_waiting_for_a_load_has_an_end_and_the_load_goes_on(house: House) -> None:
    gate = threading.Event()
    gate.set()
    house.loading = lambda: gate.wait(10) and None

    async def scenario(service: SpeechService) -> None:
        await idle(service)
        gate.clear()
        with pytest.raises(DeadlineExceeded):
            await transcribed(service, house.sound)
        assert state(service) == "loading"
        gate.set()
        await until(lambda: state(service) == "loaded")
        await idle(service)

    house.run(scenario, asr_idle_unload_seconds=SOON, request_timeout_seconds=0.3)


def test_nothing_is_freed_unless_it_is_asked_for(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        await transcribed(service, house.sound)
        await asyncio.sleep(0.3)
        assert (state(service), house.recognizer.closed) == ("loaded", False)

    house.run(scenario)


# --- coming and going -------------------------------------------------------------------------------------------------


def test_one_that_leaves_ends_what_it_began(house: House, second: StubRecognizer) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        served = await service.load_model(SECOND.upper())
        assert served == (await service.load_model(SECOND)), "it is there already"
        begun = asyncio.create_task(transcribed(service, house.sound))
        await until(lambda: len(house.recognizer.calls) == 1)
        leaving = asyncio.create_task(service.unload_model(FIRST))
        await until(lambda: state(service) == "unloading")
        assert service.resolve(None).id == service.choice.model_id == SECOND
        assert service.waiting_pieces == 2, "they still wait"
        with pytest.raises(UnknownModel, match=f"Available: {SECOND}"):
            await transcribed(service, house.sound)
        with pytest.raises(ModelConflict, match="being unloaded"):
            await service.load_model(FIRST)
        leaving.cancel()  # a client that left
        await asyncio.gather(leaving, return_exceptions=True)
        assert not house.recognizer.closed
        assert (await house.recognizer.let_go_until(begun)).text == "0.5 6.5 12.5"
        await until(lambda: state(service) == "gone")
        assert house.recognizer.closed
        with pytest.raises(ModelConflict, match="the only model"):
            await service.unload_model(SECOND)
        assert not second.closed

    house.run(scenario, asr_threads=2)  # a thread to load on while the other is busy
    assert second.closed, "at the end"


def test_one_that_is_idle_leaves_at_once(house: House, second: StubRecognizer) -> None:
    async def scenario(service: SpeechService) -> None:
        await service.load_model(SECOND)
        await idle(service)
        assert await service.unload_model(FIRST) == FIRST
        assert [one.id for one in service.states()] == [SECOND]

    house.run(scenario, asr_idle_unload_seconds=SOON)


def test_two_who_load_the_same_get_the_same(house: House, second: StubRecognizer) -> None:
    loads: list[int] = []
    house.loading = lambda: loads.append(1)

    async def scenario(service: SpeechService) -> None:
        first, other = await asyncio.gather(service.load_model(SECOND), service.load_model(SECOND))
        assert first is other
        assert len(loads) == 2, "the default and this one"

    house.run(scenario)


def test_the_end_closes_what_is_still_loading(house: House, second: StubRecognizer) -> None:
    gate, inside = threading.Event(), threading.Event()

    async def scenario(service: SpeechService) -> None:
        def load() -> None:
            inside.set()
            assert gate.wait(10)

        house.loading = load
        loading = asyncio.create_task(service.load_model(SECOND))
        await until(inside.is_set)
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        gate.set()

    house.run(scenario)
    assert second.closed


def test_one_whose_packages_are_not_installed_says_which(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.service.shelf.missing_packages", lambda entry: ("vLLM",) if entry.requires else ())
    monkeypatch.setattr("app.service.shelf.existing_engines", lambda: frozenset({"qwen3", "whisper"}))

    async def scenario(service: SpeechService) -> None:
        with pytest.raises(UnknownModel, match=r"qwen3-asr-0\.6b needs vLLM, which is not installed"):
            await service.load_model("qwen3-asr-0.6b")

    house.run(scenario)


@pytest.mark.parametrize("name", [FIRST, SECOND])
def test_before_it_is_ready_nothing_comes_or_goes(house: House, name: str) -> None:
    async def main() -> None:
        service = SpeechService(house.settings())
        try:
            with pytest.raises(ModelUnavailable, match="loading"):
                await service.load_model(name)
            with pytest.raises(ModelUnavailable, match="loading"):
                await service.unload_model(name)
        finally:
            await service.close()

    asyncio.run(main())


# --- at the start -----------------------------------------------------------------------------------------------------


def test_what_cannot_be_loaded_beside_the_default_keeps_nobody(
    house: House, second: StubRecognizer, caplog: pytest.LogCaptureFixture
) -> None:
    loads: list[int] = []

    def load() -> None:
        loads.append(1)
        if len(loads) == 2:
            raise ZeroDivisionError

    house.loading = load

    async def scenario(service: SpeechService) -> None:
        await until(lambda: state(service, SECOND) == "failed" and state(service, "nonesuch") == "failed")
        assert (await transcribed(service, house.sound, ENGLISH)).model == FIRST
        (reason,) = (one.reason for one in service.states() if one.id == "nonesuch")
        assert reason
        assert "Known: whisper-base" in reason
        assert "nonesuch is not served: The model 'nonesuch' does not exist" in caplog.text
        assert (await service.load_model(SECOND)).id == SECOND, "it may be tried again"
        assert state(service, SECOND) == "loaded"

    house.run(scenario, auto_load_custom_asr_models=f"{SECOND},nonesuch,{FIRST}")


# --- engines ----------------------------------------------------------------------------------------------------------


def test_a_recogniser_that_is_out_of_order_says_when_to_come_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting = True

    def hears(_: object) -> object:
        if starting:
            raise ModelUnavailable("The recogniser is being started again.", retry_after=6.2)
        raise EngineFailure("It is no use.")

    made = StubContinuousRecognizer(hears=hears, id=FIRST)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(residents, "load_recognizer", lambda *_: made)

    async def scenario(client: httpx.AsyncClient) -> None:
        nonlocal starting
        await told(client, {"status": "ready"})
        answer = await house.post(client)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
        assert answer.json()["error"]["code"] == "model_unavailable"
        streamed = await house.post(client, stream="true", response_format="json")
        assert streamed.status_code == 503, "nothing was said yet"
        starting = False
        assert (await house.post(client)).status_code == 500

    house.serve(scenario)
    assert made.closed


def test_an_engine_is_handed_its_companions(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, second: StubRecognizer
) -> None:
    """By role, those that are on this machine; an engine that names none is called as ever."""
    handed: list[dict[str, object]] = []

    def load(model_id: str, folder: Path, settings: Settings, **more: object) -> Recognizer:
        handed.append(more)
        return second

    monkeypatch.setattr(paraformer, "load", load)
    monkeypatch.setattr(residents, "load_recognizer", lambda *given: _of_house(house, *given))
    monkeypatch.setenv("ASR_MODEL_DIR_CT_PUNC_ZH", str(tmp_path / "temp"))
    monkeypatch.setenv("ASR_MODEL_DIR_QWEN3_FORCED_ALIGNER", str(tmp_path / "temp"))

    async def scenario(service: SpeechService) -> None:
        for roles in ((), ("aligner", "punctuation", "live_punctuation")):
            monkeypatch.setattr(paraformer, "COMPANIONS", roles, raising=False)
            await service.load_model(SECOND)
            await service.unload_model(SECOND)

    house.run(scenario, asr_enable_punctuation=False)
    there = tmp_path / "temp"
    assert handed[0] == {}
    assert handed[1]["companions"] == {"aligner": there, "punctuation": there}


def _of_house(
    house: House, entry: ModelEntry, folder: Path, settings: Settings, companions: Mapping[str, Path]
) -> Recognizer:
    return house.recognizer if entry.id == FIRST else load_recognizer(entry, folder, settings, companions)


def test_a_companion_s_folder_that_is_not_there_is_told(
    house: House, second: StubRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paraformer, "COMPANIONS", ("aligner",), raising=False)
    monkeypatch.setenv("ASR_MODEL_DIR_QWEN3_FORCED_ALIGNER", "/no/such/folder")

    async def scenario(service: SpeechService) -> None:
        with pytest.raises(Exception, match="The folder set for qwen3-forced-aligner is not there"):
            await service.load_model(SECOND)

    house.run(scenario)


def test_on_a_gpu_engines_weigh_themselves(
    house: House, second: StubRecognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "model_quant.onnx").open("wb") as stream:
        stream.truncate(2 * 1024**4)
    for name in ("config.yaml", "tokens.json", "am.mvn"):
        (tmp_path / name).write_text("there")

    async def refused(service: SpeechService) -> None:
        with pytest.raises(ModelConflict, match="of memory"):
            await service.load_model(SECOND)

    async def loaded(service: SpeechService) -> None:
        await service.load_model(SECOND)

    house.run(refused)
    card = tmp_path / "bin" / "nvidia-smi"
    card.parent.mkdir()
    card.write_text("#!/bin/sh\necho 'GPU-1, NVIDIA L4, 23034, 22563, 550.54.15'\n")
    card.chmod(0o755)
    monkeypatch.setenv("PATH", str(card.parent), prepend=":")
    house.run(loaded)
    house.run(refused, device="cpu")


def test_models_that_were_never_loaded_close(house: House) -> None:
    async def main() -> None:
        await Models(house.settings(), None).close()  # type: ignore[arg-type]

    asyncio.run(main())
