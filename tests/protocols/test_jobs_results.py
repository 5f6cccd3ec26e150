"""What came of a job, in every format and at every time."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from jobs_server import PATH, PATIENCE, Room, ask, jobs_served, made, refused, until
from openai_server import KEY, OTHER_KEY, TRANSCRIPTS, nobody

from app.domain import errors
from app.protocols.faults import STATUS
from app.service.jobs.job import Failure, Job, Progress
from app.service.jobs.turns import AT_ONCE, MOST_WAITING, SHORT_SECONDS

ROUTE = "/v1/audio/transcriptions"
FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
PROGRESS = Progress("recognise", 600.0, 150.0, 8, 2, 0.25)


@pytest.fixture(scope="module")
def _room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with jobs_served(tmp_path_factory.mktemp("jobs")) as room:
        yield room


@pytest.fixture
def room(_room: Room) -> Room:
    _room.clear()
    return _room


@pytest.fixture
def client(room: Room) -> Iterator[httpx.Client]:
    with room.client() as client:
        yield client


def result(client: httpx.Client, job: str, shape: str | None = None, which: str = "result") -> httpx.Response:
    return client.get(f"{PATH}/{job}/{which}", params={"response_format": shape} if shape else {})


@pytest.mark.parametrize("asked", ["text", "diarized_json"])
def test_a_result_is_what_the_transcription_route_answers_in_every_format(
    room: Room, client: httpx.Client, asked: str
) -> None:
    fields = {"response_format": asked, "timestamp_granularities[]": "word"}
    job = made(ask(client, b"two", **fields))
    room.succeed(room.lease(), TRANSCRIPTS["two"])
    for shape in (None, *FORMATS):
        about = fields | {"response_format": shape or asked, "enable_speaker_diarization": "true"}
        direct = client.post(ROUTE, files={"file": ("a", b"two")}, data=about)
        answer = result(client, job, shape)
        assert answer.status_code == direct.status_code == 200
        assert answer.text == direct.text
        assert answer.headers["content-type"] == direct.headers["content-type"]
        assert answer.headers["x-asr-model"] == "able"


def test_words_and_probabilities_are_there_if_they_were_asked_for(room: Room, client: httpx.Client) -> None:
    job = made(ask(client, response_format="json", word_timestamps=True, **{"include[]": "logprobs"}))
    plain = made(ask(client, response_format="json"))
    for _ in range(2):
        room.succeed(room.lease(), TRANSCRIPTS["zh"])
    assert result(client, job).json()["logprobs"]
    assert result(client, job, "verbose_json").json()["words"]
    assert "logprobs" not in result(client, plain).json()
    assert "words" not in result(client, plain, "verbose_json").json()


def test_a_translation_is_in_english(room: Room, client: httpx.Client) -> None:
    job = made(ask(client, task="translate"))
    room.succeed(room.lease(), TRANSCRIPTS["en"])
    body = result(client, job).json()
    assert (body["task"], body["language"]) == ("translate", "english")


def test_speakers_are_called_as_the_server_calls_them(room: Room, client: httpx.Client) -> None:
    room.service.settings.speaker_labels = "zh"
    try:
        job = made(ask(client))
    finally:
        room.service.settings.speaker_labels = None
    room.succeed(room.lease(), TRANSCRIPTS["two"])
    assert "[说话人1] " in result(client, job, "srt").text
    assert {one["speaker"] for one in result(client, job, "diarized_json").json()["segments"]} == {"A", "Anna"}


def test_a_result_without_speakers_is_not_drawn_with_them(room: Room, client: httpx.Client) -> None:
    job = made(ask(client, enable_speaker_diarization=False))
    room.succeed(room.lease(), nobody(TRANSCRIPTS["two"]))
    assert "Speakers" in refused(result(client, job, "diarized_json"), 400, "invalid_value", "response_format")
    assert "speaker" not in result(client, job, "verbose_json").text


def test_speakers_that_could_not_be_told_apart_are_warned_of(room: Room, client: httpx.Client) -> None:
    room.service.has_speakers(there=False)
    try:
        job = made(ask(client))
        refused(ask(client, num_speakers=2), 503, "model_unavailable", None)
    finally:
        room.service.has_speakers(there=True)
    room.succeed(room.lease(), nobody(TRANSCRIPTS["two"]))
    assert result(client, job).json()["warnings"] == ["speakers_unavailable"]


def test_a_result_that_is_not_there_yet_is_a_conflict_that_says_so(room: Room, client: httpx.Client) -> None:
    job = made(ask(client))
    for state in ("queued", "running"):
        answer = result(client, job)
        assert state in refused(answer, 409, "job_not_done", None)
        assert answer.headers["x-should-retry"] == "false"
        if state == "queued":
            room.lease()
    client.post(f"{PATH}/{job}/cancel")
    for which in ("result", "partial"):
        assert "cancelled" in refused(result(client, job, which=which), 409, "job_not_done", None)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UndecodableAudio("Not audio."), 400),
        (errors.AddressNotFetched("It answered 404.", param="audio_address"), 400),
        (errors.AudioTooLong("More than MAX_AUDIO_SECONDS."), 413),
        (errors.UploadTooLarge("Too large.", param="audio_address"), 413),
        (errors.EngineFailure("The recogniser died."), 500),
        (errors.EndedByOperator("An operator ended it."), 503),
    ],
)
def test_a_job_that_failed_answers_its_failure(
    room: Room, client: httpx.Client, error: errors.SpeechError, status: int
) -> None:
    job = made(ask(client))
    param = error.param if isinstance(error, errors.RequestError) else None
    room.fail(room.lease(), Failure(type(error).__name__, error.code, error.message, param))
    for which in ("result", "partial"):
        answer = result(client, job, which=which)
        assert refused(answer, status, error.code, param) == error.message
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("kind", ["FromTheFuture", "annotations", "__name__", ""])
def test_a_failure_of_an_unknown_kind_is_the_servers(room: Room, client: httpx.Client, kind: str) -> None:
    job = made(ask(client))
    room.fail(room.lease(), Failure(kind, "from_the_future", "Something new.", None))
    assert refused(result(client, job), 500, "from_the_future", None) == "Something new."
    assert kind not in {known.__name__ for known in STATUS}


def test_what_is_recognised_so_far_can_be_read(room: Room, client: httpx.Client) -> None:
    job = made(ask(client, response_format="srt"))
    assert result(client, job, which="partial").json()["text"] == ""
    lease = room.lease()
    room.keep(lease, 0, "今天", PROGRESS)
    room.keep(lease, 1, "很好", PROGRESS)
    body = result(client, job, which="partial").json()
    assert (body["text"], body["warnings"]) == ("今天很好", ["partial"])
    assert result(client, job, "text", "partial").text == "今天很好\n"
    assert "-->" in result(client, job, "srt", "partial").text
    assert result(client, job, "vtt", "partial").text.startswith("WEBVTT")
    assert len(result(client, job, "verbose_json", "partial").json()["segments"]) == 2
    refused(result(client, job, "diarized_json", "partial"), 400, "invalid_value", "response_format")
    room.succeed(lease, TRANSCRIPTS["zh"])
    assert result(client, job, "text", "partial").text == result(client, job, "text").text


def test_long_results_are_read_two_at_a_time(room: Room, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with room.client(OTHER_KEY) as other:
        long, short, others = made(ask(client)), made(ask(client)), made(ask(other))
    for _ in range(3):
        lease = room.lease()
        seconds = SHORT_SECONDS if lease.job.id == short else 3600.0
        room.succeed(lease, replace(TRANSCRIPTS["zh"], duration=seconds))
    draw, going_on, entered, most = room.service.drawing, threading.Event(), list[str](), [0]

    async def slow(drawn: Any, transcript: Any, job: Job, shape: Any) -> Any:
        if job.id != short:
            entered.append(job.id)
            most[0] = max(most[0], len(entered))
            await asyncio.to_thread(going_on.wait, PATIENCE)
            entered.remove(job.id)
        return await draw(drawn, transcript, job, shape)

    def ask_for(number: int) -> httpx.Response:
        with room.client(OTHER_KEY if number == 0 else KEY) as one:
            return result(one, others if number == 0 else long, which="partial" if number % 2 else "result")

    monkeypatch.setattr(room.service, "drawing", slow)
    turns = room.service.jobs._turns
    mine = AT_ONCE + MOST_WAITING
    with ThreadPoolExecutor(mine + 1) as pool:
        try:
            sent = [pool.submit(ask_for, number) for number in range(1, mine + 1)]
            until(lambda: len(entered) == AT_ONCE and turns._waiting.total() == MOST_WAITING)
            answer = result(client, long)
            refused(answer, 429, "rate_limit_exceeded", None)
            assert answer.headers["retry-after"] == "5"
            assert result(client, short).status_code == 200
            sent.append(pool.submit(ask_for, 0))  # others may wait, too
            until(lambda: turns._waiting.total() == MOST_WAITING + 1)
        finally:
            going_on.set()
        assert [one.result().status_code for one in sent] == [200] * (mine + 1)
    assert most == [AT_ONCE]
    assert result(client, long).status_code == 200


def test_a_format_that_is_none_is_refused(room: Room, client: httpx.Client) -> None:
    job = made(ask(client))
    refused(result(client, job, "pdf"), 400, "invalid_value", "response_format")
    refused(result(client, job, "pdf", "partial"), 400, "invalid_value", "response_format")


def test_an_empty_result_is_one(room: Room, client: httpx.Client) -> None:
    job = made(ask(client))
    room.succeed(room.lease(), TRANSCRIPTS["empty"])
    assert result(client, job, "text").text == ""
    assert json.loads(result(client, job).text)["segments"] == []
