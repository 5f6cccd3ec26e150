"""The service and its health, with the real decoders, threads and application around stub engines."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from house import ENGLISH, SPANS, House, furnished, listen, transcribed
from pipeline.stubs import failing_on, named
from pipeline.test_batching import until

from app.domain.engines import Hypothesis, PieceRequest
from app.domain.errors import EngineFailure, ModelUnavailable, Overloaded, SpeechError, UnknownModel
from app.domain.options import RecognitionOptions
from app.domain.transcript import Segment, Transcript, Word
from app.service.service import SpeechService


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return furnished(tmp_path, monkeypatch)


async def until_status(client: httpx.AsyncClient, status: str) -> dict[str, object]:
    async with asyncio.timeout(20):
        while True:
            body = (await client.get("/health")).json()
            if body["status"] == status:
                return body
            await asyncio.sleep(0.01)


# --- models -----------------------------------------------------------------------------------------------------------


def test_names_that_mean_the_default_model(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        assert [model.id for model in service.models()] == ["whisper-base"]
        for name in (
            *(None, "", " ", "string", "whisper-base", "Whisper-Base", "whisper-1", "whisper-large-v3"),
            *("gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe-2025-12-15"),
            *("gpt-realtime-whisper", "gpt-live-transcribe"),
        ):
            assert service.resolve(name).id == "whisper-base", name

    house.run(scenario)


def test_other_names_are_errors_that_name_what_there_is(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        for name in ("paraformer", "gpt-5", "fsmn-vad", "x" * 10_000, "../etc"):
            with pytest.raises(UnknownModel, match="Available: whisper-base") as caught:
                service.resolve(name)
            assert caught.value.param == "model"
            assert len(caught.value.message) < 250

    house.run(scenario)


def test_what_cannot_be_printed_of_a_name_is_not_told(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        with pytest.raises(UnknownModel) as asked:
            service.resolve("a\nforged")
        with pytest.raises(UnknownModel) as loading:
            await service.load_model("a\nforged")
        for caught in (asked, loading):
            assert caught.value.message.startswith(r"The model 'a\nforged' does not exist. ")

    house.run(scenario)


def test_unknown_names_may_mean_the_default_by_setting(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        assert service.resolve("someones-own-name").id == "whisper-base"
        with pytest.raises(UnknownModel):
            service.resolve("fsmn-vad")

    house.run(scenario, asr_unknown_model="default")


def test_before_it_is_ready_every_name_is_unavailable(house: House) -> None:
    async def main() -> None:
        service = SpeechService(house.settings())
        try:
            assert not service.ready
            for name in (None, "whisper-base", "nonsense"):
                with pytest.raises(ModelUnavailable, match="loading"):
                    service.resolve(name)
        finally:
            await service.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "told"),
    [(EngineFailure("whisper-base could not be loaded: torn"), "torn"), (OSError("/secret/path"), "log")],
)
def test_a_model_that_cannot_be_loaded_is_a_failure_that_is_told(house: House, error: Exception, told: str) -> None:
    def fail() -> None:
        raise error

    async def scenario(service: SpeechService) -> None:
        assert not service.ready
        assert service.failure is not None
        assert told in service.failure.message
        assert "secret" not in service.failure.message
        with pytest.raises(ModelUnavailable, match=told):
            service.resolve(None)

    house.loading = fail
    house.run(scenario)


# --- recognition ------------------------------------------------------------------------------------------------------


def test_a_transcript_is_all_pieces_in_order_with_their_sums(house: House) -> None:
    def hear(asked: PieceRequest) -> Hypothesis:
        heard = replace(named(asked), tokens=(1, 2), audio_tokens=750, prompt_tokens=4, warnings=("prompt_truncated",))
        return replace(heard, text=f"From {asked.piece.start:g}.")

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, house.sound, ENGLISH)
        assert transcript.text == "From 0.5. From 6.5. From 12.5."
        assert [(segment.start, segment.end) for segment in transcript.segments] == [(1, 3), (7, 9), (13, 15)]
        assert (transcript.language, transcript.duration, transcript.model) == ("en", 16.0, "whisper-base")
        usage = transcript.usage
        assert (usage.audio_seconds, usage.audio_tokens, usage.prompt_tokens, usage.output_tokens) == (16, 2250, 12, 6)
        assert transcript.warnings == ("prompt_truncated",), "said once"

    house.recognizer.hears = hear
    house.run(scenario)


def test_a_stream_is_the_segments_and_then_their_transcript(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        items = [item async for item in listen(service, house.sound)]
        assert [type(item) for item in items] == [Segment, Segment, Segment, Transcript]
        assert items[-1].segments == tuple(items[:-1])

    house.run(scenario)


def test_silence_is_an_empty_transcript_and_no_recogniser_hears_it(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, house.sound, RecognitionOptions())
        assert (transcript.text, transcript.segments, transcript.language) == ("", (), None)

    house.detector.spans = ()
    house.run(scenario)
    assert house.recognizer.calls == []


@pytest.mark.parametrize("timed", [True, False])
def test_a_pause_inside_a_sentence_puts_no_space_into_its_text(house: House, timed: bool) -> None:
    words = (Word("你", 0.5, 0.8, space_before=False), Word("好", 2.2, 2.5, space_before=False))
    house.recognizer.hears = lambda _: Hypothesis("你好", "zh", {"zh": 1.0}, words if timed else ())
    house.detector.spans = SPANS[:1]

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, house.sound, RecognitionOptions(timed=timed))
        assert transcript.text == "你好"
        assert len(transcript.segments) == (2 if timed else 1)

    house.run(scenario)


def test_sound_without_words_has_no_language(house: House) -> None:
    house.recognizer.hears = lambda _: Hypothesis("", "nn", {"nn": 0.2, "en": 0.1})

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, house.sound, RecognitionOptions())
        assert (transcript.text, transcript.language) == ("", None)

    house.run(scenario)


@pytest.mark.parametrize(("task", "written"), [("transcribe", "体验，好"), ("translate", "體驗,好")])
def test_chinese_is_simplified_in_text_and_words_but_a_translation_is_left_alone(
    house: House, task: str, written: str
) -> None:
    words = tuple(Word(text, index, index + 0.5, space_before=False) for index, text in enumerate(["體", "驗,", "好"]))
    house.recognizer.hears = lambda _: Hypothesis("體驗,好", "zh", {"zh": 1.0}, words)
    house.detector.spans = SPANS[:1]

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, house.sound, RecognitionOptions(task=task))
        assert transcript.text == written
        assert "".join(word.text for word in transcript.words) == written

    house.run(scenario)


@pytest.mark.parametrize("broken", ["recogniser", "detector", "bug"])
def test_a_failing_engine_fails_the_request(house: House, broken: str) -> None:
    def bug(_: PieceRequest) -> Hypothesis:
        raise ZeroDivisionError

    if broken == "detector":
        house.detector.failure = EngineFailure("deaf")
    else:
        house.recognizer.hears = bug if broken == "bug" else failing_on(12.5)

    async def scenario(service: SpeechService) -> None:
        with pytest.raises(EngineFailure):
            await transcribed(service, house.sound, ENGLISH)
        house.detector.failure = None
        house.recognizer.hears = named
        assert (await transcribed(service, house.sound, ENGLISH)).text, "the next request is well"

    house.run(scenario)


def test_a_full_service_says_when_to_come_back(house: House) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        works = [asyncio.create_task(transcribed(service, house.sound, ENGLISH)) for _ in range(2)]
        await until(lambda: service.active == 2 and len(house.recognizer.calls) == 1)
        with pytest.raises(Overloaded) as caught:
            await transcribed(service, house.sound, ENGLISH)
        assert caught.value.retry_after > 0
        assert service.active == 2
        house.recognizer.release(100)
        await asyncio.gather(*works)
        assert service.active == 0
        await transcribed(service, house.sound, ENGLISH)

    house.run(scenario, max_requests=2)


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_a_request_that_is_given_up_frees_its_place(house: House, how: str) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        if how == "cancelled":
            work = asyncio.create_task(transcribed(service, house.sound, ENGLISH))
            await until(lambda: len(house.recognizer.calls) == 1)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
        else:
            house.recognizer.batch_cost = 1.0
            async with aclosing(listen(service, house.sound)) as items:
                first = await house.recognizer.let_go_until(asyncio.ensure_future(anext(items)))
                assert isinstance(first, Segment)
        assert service.active == 0
        house.recognizer.release(10)

    house.run(scenario)


def test_bad_sound_is_the_callers_error_and_frees_its_place(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        house.sound.write_bytes(b"this is no sound at all")
        with pytest.raises(SpeechError) as caught:
            await transcribed(service, house.sound, ENGLISH)
        assert caught.value.code == "audio_undecodable"

    house.run(scenario)


def test_closing_frees_the_model(house: House) -> None:
    async def scenario(_: SpeechService) -> None:
        assert not house.recognizer.closed

    house.run(scenario)
    assert house.recognizer.closed


# --- the application --------------------------------------------------------------------------------------------------


def test_health_while_loading_and_when_ready(house: House) -> None:
    go_on = threading.Event()
    house.loading = lambda: go_on.wait(20)

    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/health/live")).status_code == 200
        waiting = await client.get("/health/ready")
        assert (waiting.status_code, waiting.json()["status"]) == (503, "loading")
        assert (await client.get("/health")).json()["models"] == []
        refused = await house.post(client)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "model_unavailable"
        assert int(refused.headers["retry-after"]) > 0
        go_on.set()
        body = await until_status(client, "ready")
        assert (body["models"], body["model"], body["active_requests"]) == (["whisper-base"], "whisper-base", 0)
        assert (await client.get("/health/ready")).status_code == 200
        assert (await house.post(client)).status_code == 200

    house.serve(scenario)


def test_health_after_a_failure(house: House) -> None:
    def fail() -> None:
        raise EngineFailure("whisper-base could not be loaded: torn")

    house.loading = fail

    async def scenario(client: httpx.AsyncClient) -> None:
        body = await until_status(client, "failed")
        assert "torn" in str(body["reason"])
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/health/live")).status_code == 200
        assert (await house.post(client)).status_code == 503

    house.serve(scenario)


def test_a_failing_engine_is_never_a_success(house: House) -> None:
    house.recognizer.hears = failing_on(12.5)

    async def scenario(client: httpx.AsyncClient) -> None:
        await until_status(client, "ready")
        answer = await house.post(client)
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "engine_failure"
        streamed = (await house.post(client, stream="true")).text
        assert '"engine_failure"' in streamed
        assert "transcript.text.done" not in streamed

    house.serve(scenario)


def test_a_full_server_answers_429(house: House) -> None:
    house.recognizer.held = True

    async def scenario(client: httpx.AsyncClient) -> None:
        await until_status(client, "ready")
        work = asyncio.create_task(house.post(client))
        await until(lambda: len(house.recognizer.calls) == 1)
        assert (await client.get("/health")).json()["active_requests"] == 1
        refused = await house.post(client)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["x-should-retry"] == "true"
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        house.recognizer.release(10)
        assert (await work).status_code == 200

    house.serve(scenario, max_requests=1)
