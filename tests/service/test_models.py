"""Which of a machine's models answer: the best that can be loaded, and better ones when they arrive."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from house import ENGLISH, House, furnished, transcribed
from modelstore.mirror import Hub
from pipeline.stubs import ABLE, StubRecognizer
from pipeline.test_batching import until

from app.domain.engines import Recognizer
from app.domain.errors import DownloadFailed, EngineFailure, ModelUnavailable, SpeechError
from app.modelstore.catalog import CATALOG, ModelEntry, ModelScopeMirror
from app.modelstore.machine import Gpu, Machine
from app.modelstore.mirrors import Endpoints, Timeouts
from app.modelstore.store import ModelStore
from app.service import helpers, improving, residents
from app.service import models as models_module
from app.service.improving import Improvement
from app.service.loading import load_recognizer
from app.service.models import Models
from app.service.service import SpeechService
from app.settings import Settings

BEST = "paraformer-large"
LIVE = ("paraformer-large-online", "ct-punc-live")
"""What live speech is heard and marked with beside it."""
ABSENT = "it is not on this machine yet"


@dataclass
class StubPunctuator:
    """Ends every text."""

    id: str = "ct-punc"
    languages: frozenset[str] = frozenset({"zh", "en"})

    def marks(self, words: Sequence[str]) -> list[str]:
        return [*("" for _ in words[1:]), "。"]


@dataclass
class Street:
    """A house, the hub its models come from, and the engines that are loaded for them; None is the real one."""

    house: House
    hub: Hub
    engines: dict[str, StubRecognizer | Exception | None]
    loaded: list[str] = field(default_factory=list)

    @property
    def models_dir(self) -> Path:
        return self.house.temp.parent / "models"

    def settings(self, **changes: object) -> dict[str, object]:
        nowhere = self.house.temp.parent / "nowhere"
        caches = {"models_dir": self.models_dir, "modelscope_path": nowhere, "hf_home": nowhere}
        return {"asr_model": "auto", "device": "cpu", "model_mirrors": ["modelscope"], **caches, **changes}

    def place(self, model_id: str) -> Path:
        """Files of the right names, which hold no model."""
        folder = self.models_dir / model_id
        folder.mkdir(parents=True)
        for name, body in bodies(model_id).items():
            (folder / name).write_bytes(body)
        return folder

    def publish(self, model_id: str) -> None:
        """Have the hub list and serve the same files."""
        mirror = mirror_of(model_id)
        rows: list[dict[str, object]] = []
        for name, body in bodies(model_id).items():
            self.hub.files[mirror.url("", name)] = body
            rows.append({"Path": name, "Size": len(body), "Sha256": hashlib.sha256(body).hexdigest(), "Type": "blob"})
        self.hub.files[listing(model_id)] = json.dumps({"Data": {"Files": rows}}).encode()

    def asked(self, model_id: str) -> int:
        """How often the hub was asked what the model's files are."""
        return [path for path, _ in self.hub.requests].count(listing(model_id))

    def run(self, scenario: Callable[[SpeechService], object], **changes: object) -> None:
        self.house.run(scenario, **self.settings(**changes))  # pyright: ignore[reportArgumentType]

    def serve(self, scenario: Callable[[httpx.AsyncClient], object], **changes: object) -> None:
        self.house.serve(scenario, **self.settings(**changes))  # pyright: ignore[reportArgumentType]


def entry_of(model_id: str) -> ModelEntry:
    entry = CATALOG.model(model_id)
    assert entry is not None
    return entry


def bodies(model_id: str) -> dict[str, bytes]:
    return {file.path: f"{model_id}: {file.path}".encode() for file in entry_of(model_id).hub_files}


def mirror_of(model_id: str) -> ModelScopeMirror:
    mirror = entry_of(model_id).mirrors[0]
    assert isinstance(mirror, ModelScopeMirror)
    return mirror


def listing(model_id: str) -> str:
    return f"/api/v1/models/{mirror_of(model_id).repo}/repo/files?Revision=master&Recursive=true"


@pytest.fixture
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(improving, "_RETRY_SECONDS", 0.02)
    house = furnished(tmp_path, monkeypatch)
    with Hub() as hub:
        made = Street(house, hub, {"whisper-base": house.recognizer, BEST: StubRecognizer(id=BEST)})

        def store(settings: Settings) -> ModelStore:
            return ModelStore(settings, endpoints=Endpoints(modelscope=hub.url), timeouts=Timeouts(connect=1, read=5))

        def load(entry: ModelEntry, folder: Path, settings: Settings, companions: Mapping[str, Path]) -> Recognizer:
            made.loaded.append(entry.id)
            engine = made.engines[entry.id]
            if isinstance(engine, Exception):
                raise engine
            return engine or load_recognizer(entry, folder, settings, companions)

        monkeypatch.setattr(models_module, "ModelStore", store)
        monkeypatch.setattr(residents, "load_recognizer", load)
        monkeypatch.setattr(helpers, "load_punctuator", lambda *_: StubPunctuator())
        monkeypatch.setattr(helpers, "load_streaming", lambda entry, *_: entry)
        monkeypatch.setattr(helpers, "load_live_punctuator", lambda entry, *_: entry)
        yield made


def ids(service: SpeechService) -> list[str]:
    return [model.id for model in service.models()]


async def health_once(client: httpx.AsyncClient, **expected: object) -> dict[str, object]:
    """What /health says as soon as it says what is expected."""
    async with asyncio.timeout(20):
        while True:
            body: dict[str, object] = (await client.get("/health")).json()
            if all(body[name] == value for name, value in expected.items()):
                return body
            await asyncio.sleep(0.01)


# --- at the start -----------------------------------------------------------------------------------------------------


def test_the_best_that_is_here_answers_and_nothing_is_asked(street: Street) -> None:
    for model_id in (BEST, "ct-punc", *LIVE):
        street.place(model_id)

    async def scenario(service: SpeechService) -> None:
        assert ids(service) == [BEST]
        assert service.choice.passed_over == ()
        assert service.punctuates
        await asyncio.sleep(0.1)

    street.run(scenario)
    assert street.loaded == [BEST], "what is not needed takes no memory"
    assert street.hub.requests == []


def test_what_is_here_is_not_kept_waiting_by_a_hub_that_hangs(street: Street) -> None:
    street.publish(BEST)
    street.hub.says(listing(BEST), *["hang"] * 9)
    began = time.monotonic()

    async def scenario(service: SpeechService) -> None:
        assert ids(service) == ["whisper-base"]
        assert service.choice.passed_over == ((BEST, ABSENT),)
        await until(lambda: street.asked(BEST) == 1)  # in the background
        assert (await transcribed(service, street.house.sound, ENGLISH)).model == "whisper-base"

    street.run(scenario)
    assert time.monotonic() - began < 4, "and neither is the end"


def test_one_that_cannot_be_loaded_gives_way_to_the_next(street: Street, caplog: pytest.LogCaptureFixture) -> None:
    street.engines[BEST] = None
    street.place(BEST)

    async def scenario(client: httpx.AsyncClient) -> None:
        body = await health_once(client, status="ready")
        assert (body["model"], body["models"]) == ("whisper-base", ["whisper-base"])
        (passed,) = body["passed_over"]  # pyright: ignore
        assert passed["model"] == BEST
        assert "config.yaml" in passed["reason"], "the file that is wrong is named"
        assert str(street.models_dir) not in passed["reason"]
        assert (await street.house.post(client)).status_code == 200
        assert f"{BEST} cannot be served: {passed['reason']}" in caplog.text

    street.serve(scenario)
    assert street.asked(BEST) == 0, "it is here: another copy of the same files would be no better"


def test_a_folder_that_was_named_and_is_not_there_is_a_reason(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_MODEL_DIR_PARAFORMER_LARGE", "/no/such/folder")

    async def scenario(service: SpeechService) -> None:
        assert ids(service) == ["whisper-base"]
        assert service.choice.passed_over == ((BEST, f"The folder set for {BEST} is not there."),)

    street.run(scenario)


@pytest.mark.parametrize("state", ["broken", "absent"])
def test_a_model_by_name_is_never_replaced(street: Street, state: str) -> None:
    street.engines[BEST] = None
    if state == "broken":
        street.place(BEST)

    async def scenario(client: httpx.AsyncClient) -> None:
        body = await health_once(client, status="failed")
        assert ("config.yaml" if state == "broken" else "is not on this machine") in str(body["reason"])
        assert (body["model"], body["models"]) == (BEST, [])
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["reason"]) == (503, body["reason"])
        assert (await client.get("/health/live")).status_code == 200
        refused = await street.house.post(client)
        assert refused.status_code == 503
        assert refused.json()["error"]["message"] == body["reason"]

    street.serve(scenario, asr_model=BEST, hf_hub_offline=True)
    assert set(street.loaded) <= {BEST}


def test_when_all_of_them_fail_the_last_one_s_reason_is_told(street: Street) -> None:
    street.place(BEST)
    street.engines = {BEST: EngineFailure("torn"), "whisper-base": EngineFailure("the last is torn, too")}

    async def scenario(service: SpeechService) -> None:
        assert service.failure is not None
        assert service.failure.message == "the last is torn, too"
        assert service.choice.passed_over == ((BEST, "torn"),)
        with pytest.raises(ModelUnavailable, match="the last"):
            service.resolve(None)

    street.run(scenario)


def test_the_next_one_is_fetched_where_only_a_broken_one_is_here(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASR_MODEL_DIR_WHISPER_BASE")
    street.place(BEST)
    street.engines[BEST] = EngineFailure("torn")

    async def scenario(service: SpeechService) -> None:
        assert isinstance(service.failure, DownloadFailed), "whisper-base was asked for; this hub has none"
        assert "whisper-base could not be fetched" in service.failure.message
        assert service.choice.passed_over == ((BEST, "torn"),)

    street.run(scenario)


# --- later ------------------------------------------------------------------------------------------------------------


def test_a_better_one_that_arrives_answers_from_then_on(street: Street) -> None:
    whisper = street.house.recognizer
    whisper.held = True

    async def scenario(service: SpeechService) -> None:
        assert ids(service) == ["whisper-base"]
        assert not service.punctuates
        begun = asyncio.create_task(transcribed(service, street.house.sound, ENGLISH))
        await until(lambda: len(whisper.calls) == 1)
        street.publish("ct-punc")
        street.publish(BEST)
        await until(lambda: ids(service) == [BEST, "whisper-base"])
        assert (service.choice.model_id, service.choice.passed_over) == (BEST, ())
        for name in (None, "", "whisper-1", "gpt-4o-transcribe", BEST):
            assert service.resolve(name).id == BEST
        assert service.resolve("whisper-base").id == "whisper-base"
        whisper.release(100)
        assert (await begun).model == "whisper-base", "what had begun ends as it began"
        assert (await transcribed(service, street.house.sound, ENGLISH)).model == "whisper-base", "asked for by name"
        await until(lambda: service.punctuates)

    street.run(scenario, asr_threads=2)  # a thread to load on while the other is busy
    assert street.house.recognizer.closed
    best = street.engines[BEST]
    assert isinstance(best, StubRecognizer)
    assert best.closed


def test_health_tells_the_change(street: Street) -> None:
    street.engines[BEST] = StubRecognizer(id=BEST, capabilities=ABLE)

    async def scenario(client: httpx.AsyncClient) -> None:
        body = await health_once(client, status="ready")
        assert (body["model"], body["passed_over"]) == ("whisper-base", [{"model": BEST, "reason": ABSENT}])
        assert (await street.house.post(client, model="whisper-1")).headers["x-asr-model"] == "whisper-base"
        street.publish(BEST)
        body = await health_once(client, models=[BEST, "whisper-base"])
        assert (body["model"], body["passed_over"]) == (BEST, [])
        assert (await street.house.post(client, model="whisper-1")).headers["x-asr-model"] == BEST
        assert (await street.house.post(client, model="whisper-base")).headers["x-asr-model"] == "whisper-base"

    street.serve(scenario)


def test_what_sets_marks_may_arrive_later(street: Street) -> None:
    street.place(BEST)

    async def scenario(service: SpeechService) -> None:
        assert not service.punctuates
        assert service.tells_speakers
        street.publish("ct-punc")
        await until(lambda: service.punctuates)
        assert service.tells_speakers
        assert street.loaded == [BEST], "the recogniser is not loaded again"

    street.run(scenario)


@pytest.mark.parametrize(
    ("name", "settings", "loaded"),
    [
        (BEST, {}, LIVE),
        (BEST, {"asr_enable_realtime_punc": False}, (LIVE[0], None)),
        ("whisper-base", {}, (None, None)),
    ],
)
def test_what_live_speech_needs_is_loaded_where_it_is_needed(
    street: Street, name: str, settings: dict[str, object], loaded: tuple[str | None, str | None]
) -> None:
    for model_id in (BEST, *LIVE):
        street.place(model_id)
    assert live_helpers(street, lambda _models: True, asr_model=name, **settings) == loaded


def test_what_live_speech_needs_may_arrive_later_or_be_broken(
    street: Street, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> NoReturn:
        raise EngineFailure("decoder.onnx is torn.")

    monkeypatch.setattr(helpers, "load_live_punctuator", broken)
    street.place(BEST)
    for model_id in LIVE:
        street.publish(model_id)
    assert live_helpers(street, lambda _models: "torn" in caplog.text, asr_model=BEST) == (LIVE[0], None)
    absent = "The model that hears speech while it is spoken is not on this machine."
    assert f"live text is made by the model for whole pieces: {absent}" in caplog.text
    assert "live text will have no marks before it is final: decoder.onnx is torn." in caplog.text


def live_helpers(
    street: Street, arrived: Callable[[Models], bool], **settings: object
) -> tuple[str | None, str | None]:
    """Ids of what live speech is heard and marked with, once that has `arrived`."""

    async def main() -> tuple[str | None, str | None]:
        with ThreadPoolExecutor(1) as threads:
            models = Models(Settings(_env_file=None, **street.settings(**settings)), threads)  # pyright: ignore
            try:
                await models.load()
                improving = asyncio.create_task(Improvement(models).run())
                await until(lambda: arrived(models))
                improving.cancel()
                await asyncio.wait([improving])
                streaming, punctuator = models.helpers.streaming, models.helpers.live_punctuator
                return streaming and streaming.id, punctuator and punctuator.id
            finally:
                await models.close()

    return asyncio.run(main())


def test_one_that_arrives_broken_changes_nothing(street: Street, caplog: pytest.LogCaptureFixture) -> None:
    street.engines[BEST] = EngineFailure("what arrived is torn")
    street.publish(BEST)

    async def scenario(service: SpeechService) -> None:
        await until(lambda: service.choice.passed_over == ((BEST, "what arrived is torn"),))
        assert ids(service) == ["whisper-base"]
        assert service.choice.model_id == "whisper-base"
        await asyncio.sleep(0.1)

    street.run(scenario)
    assert street.loaded.count(BEST) == 1, "it is not tried again and again"
    assert f"{BEST} has arrived and cannot be served: what arrived is torn" in caplog.text


def test_what_keeps_failing_is_logged_once(street: Street, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(service: SpeechService) -> None:
        await until(lambda: street.asked(BEST) >= 4)
        assert ids(service) == ["whisper-base"]

    with caplog.at_level(logging.WARNING):
        street.run(scenario)
    (line,) = [record.getMessage() for record in caplog.records if "still missing" in record.getMessage()]
    assert line.startswith(f"{BEST} is still missing: ")
    assert "modelscope: it answers 404" in line


def test_a_fault_of_our_own_is_logged_once_and_tried_again(
    street: Street, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    real = ModelStore.ensure

    def ensure(store: ModelStore, entry_id: str) -> Path:
        nonlocal tries
        if entry_id == BEST:
            tries += 1
            if tries < 4:
                raise ZeroDivisionError
        return real(store, entry_id)

    monkeypatch.setattr(ModelStore, "ensure", ensure)
    street.publish(BEST)

    async def scenario(service: SpeechService) -> None:
        await until(lambda: ids(service) == [BEST, "whisper-base"])

    street.run(scenario)
    assert caplog.text.count("Traceback") == 1
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("name", ["whisper-base", BEST])
def test_nothing_is_improved_where_nothing_is_missing(street: Street, name: str) -> None:
    street.publish(BEST)
    street.publish("ct-punc")
    for model_id in (BEST, "ct-punc", *LIVE) if name == BEST else ():
        street.place(model_id)

    async def main() -> None:
        with ThreadPoolExecutor(1) as threads:
            models = Models(Settings(_env_file=None, **street.settings(asr_model=name)), threads)  # pyright: ignore
            try:
                await models.load()
                async with asyncio.timeout(1):
                    await Improvement(models).run()
                assert [model.id for model in models.served()] == [name]
            finally:
                await models.close()

    asyncio.run(main())
    assert street.hub.requests == [], "what was asked for by name is not improved upon"


@pytest.mark.parametrize(("device", "meant"), [("auto", "cuda:1"), ("cuda:0", "cuda:0"), ("cpu", "cpu")])
def test_the_device_is_known_without_asking_again(
    street: Street, monkeypatch: pytest.MonkeyPatch, device: str, meant: str
) -> None:
    gpus = tuple(Gpu(index, f"GPU-{index}", "Card", (index + 1) * 2**33, 2**33, "570") for index in range(2))
    looks: list[Machine] = []

    def read() -> Machine:
        looks.append(Machine(2, "Processor", (), 2**34, gpus))
        return looks[-1]

    monkeypatch.setattr(models_module, "read_machine", read)

    async def main() -> None:
        with ThreadPoolExecutor(1) as threads:
            settings = Settings(_env_file=None, **street.settings(asr_model="whisper-base", device=device))
            models = Models(settings, threads)
            try:
                assert [models.device, models.device] == [meant, meant]
            finally:
                await models.close()

    asyncio.run(main())
    assert len(looks) == 1


def test_another_model_that_sets_marks_is_enough(street: Street) -> None:
    for model_id in (BEST, "ct-punc-zh", *LIVE):
        street.place(model_id)
    street.publish("ct-punc")

    async def scenario(service: SpeechService) -> None:
        assert service.punctuates
        await asyncio.sleep(0.1)

    street.run(scenario)
    assert street.hub.requests == []


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_end_does_not_leave_a_failure_behind(street: Street) -> None:
    street.hub.says(listing(BEST), "slow")
    street.publish(BEST)

    async def scenario(service: SpeechService) -> None:
        await until(lambda: street.asked(BEST) == 1)
        assert not isinstance(service.failure, SpeechError)

    street.run(scenario)  # the loop is gone when the answer comes: nothing must be raised on that thread
    time.sleep(1)
    assert (street.models_dir / BEST).is_dir()
