"""DashScope's file transcription: tasks, how they are, transcripts at their own addresses, and errors in its shape."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from filetrans_server import KEY, OTHER_KEY, FakeJobs, Running, serving
from openai_server import ABLE, TRANSCRIPTS

from app.domain import errors
from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.domain.transcript import Segment, Transcript, Word
from app.protocols.aliyun.filetrans.dashscope import parameters, schema
from app.protocols.aliyun.filetrans.dashscope.errors import RESULT, SUBMIT, TASKS
from app.service.auth import KeyRing
from app.service.jobs.job import Failure

URL = "https://example.com/call.wav"
ASYNC = {"X-DashScope-Async": "enable"}


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("dashscope")) as running:
        yield running


@pytest.fixture
def server(_running: Running) -> Running:
    _running.service.jobs = FakeJobs()  # type: ignore[assignment]
    _running.service.has_speakers(True)
    return _running


def bearer(key: str = KEY) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def submit(server: Running, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    given = {"model": "paraformer-v2", "input": {"file_urls": [URL]}} | body
    return httpx.post(f"{server.base}{SUBMIT}", json=given, headers=bearer() | (headers or ASYNC), timeout=20)


def task(server: Running, **parameters: Any) -> str:
    answer = submit(server, parameters=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.json()["output"]["task_status"] == "PENDING"
    return answer.json()["output"]["task_id"]


def fetch(server: Running, task_id: str, key: str = KEY) -> dict[str, Any]:
    answer = httpx.get(f"{server.base}{TASKS}/{task_id}", headers=bearer(key), timeout=20)
    assert answer.status_code == 200, answer.text
    assert answer.json()["request_id"]
    return answer.json()["output"]


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    assert answer.json().keys() == {"request_id", "code", "message"}
    return answer.status_code, answer.json()["code"], answer.json()["message"]


def test_a_task_is_a_job_at_an_address(server: Running) -> None:
    task(server)
    request = server.jobs.latest.request
    assert (request.address, request.model, request.face, request.webhook) == (URL, ABLE.id, "aliyun", None)
    assert request.options == RecognitionOptions(split_channels=True)


@pytest.mark.parametrize(
    ("wishes", "wanted"),
    [
        ({"language_hints": ["en"]}, {"language": "en", "languages": ()}),
        ({"language_hints": ["zh", "en", "zh"]}, {"language": None, "languages": ("zh", "en")}),
        ({"diarization_enabled": True}, {"speakers": SpeakerOptions(), "split_channels": False}),
        ({"diarization_enabled": True, "speaker_count": 2}, {"speakers": SpeakerOptions(2)}),
        (
            {"special_word_filter": '{"filter_with_empty": {"word_list": ["坏"]}}'},
            {"masking": (Masking(("坏",), "remove"),)},
        ),
        ({"disfluency_removal_enabled": True, "timestamp_alignment_enabled": True}, {"split_channels": True}),
        ({"audio_event_detection_enabled": False}, {"split_channels": True}),
    ],
)
def test_what_a_task_asks_for(server: Running, wishes: dict[str, Any], wanted: dict[str, Any]) -> None:
    task(server, **wishes)
    options = server.jobs.latest.request.options
    assert {name: getattr(options, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    "name", ["paraformer-v1", "paraformer-8k-v2", "fun-asr", "fun-asr-2025-11-07", "sensevoice-v1", None]
)
def test_the_clouds_own_models_are_the_default_one(server: Running, name: str | None) -> None:
    assert submit(server, model=name).status_code == 200
    assert server.jobs.latest.request.model == ABLE.id


def test_a_model_may_be_named(server: Running) -> None:
    assert submit(server, model="group/plain").status_code == 200
    assert server.jobs.latest.request.model == "group/plain"
    assert refusal(submit(server, model="unheard-of"))[:2] == (404, "ModelNotFound")


def test_stored_words_are_listened_for(server: Running) -> None:
    owner = KeyRing((KEY,)).owner([(b"api-key", KEY.encode())])
    stored = asyncio.run(server.service.vocabularies.put(owner, "firms", (Hotword("阿里巴巴"),), exact=True))
    phrase = [{"resource_id": stored.id, "resource_type": "asr_phrase"}]
    for given in ({"parameters": {"vocabulary_id": stored.id}}, {"resources": phrase}):
        assert submit(server, **given).status_code == 200
        assert [one.text for one in server.jobs.latest.request.options.hotwords] == ["阿里巴巴"]
    assert refusal(submit(server, resources=[{"resource_type": "another"}]))[:2] == (400, "InvalidParameter")
    assert refusal(submit(server, resources=phrase * 2))[0] == 400
    both = {"parameters": {"vocabulary_id": stored.id}, "resources": phrase}
    assert "resources" in refusal(submit(server, **both))[2]
    assert refusal(submit(server, **(both | {"resources": "abc"})))[0] == 400


def test_fields_that_nobody_reads_are_noted_without_their_values(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger=parameters.__name__)
    assert submit(server, parameters={"something_new": "secret", "channel_id": [0]}, other="secret").status_code == 200
    (line,) = [record.getMessage() for record in caplog.records if record.name == parameters.__name__]
    assert line.endswith("fields nobody reads: ['other', 'something_new']")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"input": {}}, "file_urls"),
        ({"input": {"file_urls": URL}}, "file_urls"),
        ({"input": {"file_urls": []}}, "file_urls"),
        ({"input": {"file_urls": [URL, URL]}}, "one recording"),
        ({"input": {"file_urls": ["ftp://example.com/"]}}, "http"),
        ({"input": []}, "input"),
        ({"parameters": 7}, "parameters"),
        ({"parameters": {"channel_id": 0}}, "channel_id"),
        ({"parameters": {"channel_id": [8]}}, "channel_id"),
        ({"parameters": {"channel_id": [True]}}, "channel_id"),
        ({"parameters": {"language_hints": "zh"}}, "language_hints"),
        ({"parameters": {"language_hints": ["Klingon"]}}, "Klingon"),
        ({"parameters": {"speaker_count": 2}}, "diarization_enabled"),
        ({"parameters": {"diarization_enabled": True, "speaker_count": 1}}, "speaker_count"),
        ({"parameters": {"diarization_enabled": True, "channel_id": [0, 1]}}, "channel_id"),
        ({"parameters": {"audio_event_detection_enabled": True}}, "audio_event_detection_enabled"),
        ({"parameters": {"disfluency_removal_enabled": "perhaps"}}, "disfluency_removal_enabled"),
    ],
)
def test_what_makes_no_sense_or_cannot_be_had_is_said(server: Running, body: dict[str, Any], told: str) -> None:
    status, code, message = refusal(submit(server, **body))
    assert (status, code) == (400, "InvalidParameter")
    assert told in message
    assert not server.jobs.jobs


def test_requests_that_are_none(server: Running) -> None:
    assert refusal(submit(server, headers={"x": "y"}))[:2] == (400, "AccessDenied")
    address, headers = f"{server.base}{SUBMIT}", bearer() | ASYNC
    assert refusal(httpx.post(address, json=[], headers=headers))[0] == 400
    assert refusal(httpx.post(address, content=b"{", headers=headers))[0] == 400
    assert refusal(httpx.post(address, json={}, headers=ASYNC))[:2] == (401, "InvalidApiKey")
    assert refusal(httpx.get(address, headers=headers))[:2] == (405, "UnsupportedOperation")
    server.jobs.refusal = errors.TooManyJobs("Enough.", retry_after=3)
    assert refusal(submit(server))[:2] == (429, "Throttling.RateQuota")


def test_how_a_task_is(server: Running) -> None:
    task_id = task(server)
    assert fetch(server, task_id)["task_status"] == "PENDING"
    server.jobs.turn(task_id, "running")
    output = fetch(server, task_id)
    assert output["task_status"] == "RUNNING"
    assert "results" not in output


def transcription(output: dict[str, Any]) -> dict[str, Any]:
    """What lies at the address that a task's output names, fetched without a key."""
    (result,) = output["results"]
    assert (result["file_url"], result["subtask_status"]) == (URL, "SUCCEEDED")
    answer = httpx.get(result["transcription_url"], timeout=20)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def test_a_task_that_is_done_has_its_text_at_an_address(server: Running) -> None:
    task_id = task(server)
    server.jobs.done(task_id, TRANSCRIPTS["zh"])
    output = fetch(server, task_id)
    assert output["task_metrics"] == {"TOTAL": 1, "SUCCEEDED": 1, "FAILED": 0}
    assert output["submit_time"] <= output["end_time"]
    told = transcription(output)
    assert told["file_url"] == URL
    assert told["properties"] == {"channels": [0], "original_duration_in_milliseconds": 4250}
    (one,) = told["transcripts"]
    assert (one["channel_id"], one["content_duration_in_milliseconds"], one["text"]) == (
        0,
        4000,
        TRANSCRIPTS["zh"].text,
    )
    first, second = one["sentences"]
    assert {name: value for name, value in first.items() if name != "words"} == {
        "begin_time": 0,
        "end_time": 2300,
        "text": "今天天气很好，",
        "sentence_id": 1,
    }
    assert first["words"][-1] == {"begin_time": 1500, "end_time": 1800, "text": "好", "punctuation": "，"}
    assert second["sentence_id"] == 2


def test_words_make_the_text(server: Running) -> None:
    words = (Word("Hello", 0.0, 0.5), Word('"World",', 0.5, 1.0), Word("...", 1.0, 1.2), Word("again.", 1.2, 2.0))
    text = 'Hello "World", ... again.'
    task_id = task(server)
    server.jobs.done(task_id, Transcript(text, "en", 2.0, ABLE.id, (Segment(0.0, 2.0, text, words),)))
    told = transcription(fetch(server, task_id))
    (sentence,) = told["transcripts"][0]["sentences"]
    assert "".join(word["text"] + word["punctuation"] for word in sentence["words"]) == text


def test_channels_are_told_of_that_were_asked_for(server: Running) -> None:
    both, second = task(server, channel_id=[1, 0]), task(server, channel_id=[1])
    for task_id in (both, second):
        server.jobs.done(task_id, TRANSCRIPTS["two"])
    told = transcription(fetch(server, both))["transcripts"]
    assert [(one["channel_id"], one["text"]) for one in told] == [
        (0, "今天天气很好，我们去公园。"),
        (1, "Hello there!"),
    ]
    (told,) = transcription(fetch(server, second))["transcripts"]
    assert (told["channel_id"], told["text"]) == (1, "Hello there!")
    assert "speaker_id" not in told["sentences"][0]


def test_speakers_have_numbers(server: Running) -> None:
    task_id = task(server, diarization_enabled=True)
    server.jobs.done(task_id, TRANSCRIPTS["three"])
    (told,) = transcription(fetch(server, task_id))["transcripts"]
    assert [one["speaker_id"] for one in told["sentences"]] == [0, 1, 0, 2]


def test_a_recording_without_speech(server: Running) -> None:
    task_id = task(server)
    server.jobs.done(task_id, TRANSCRIPTS["empty"])
    told = transcription(fetch(server, task_id))
    assert told["code"] == "SUCCESS_WITH_NO_VALID_FRAGMENT"
    assert told["transcripts"][0]["sentences"] == []


def test_channels_without_speech(server: Running) -> None:
    """Whoever speaks on another one is not told of."""
    two = TRANSCRIPTS["two"]
    second = replace(two, segments=tuple(one for one in two.segments if one.speaker and one.speaker.number == 1))
    first, both = task(server, channel_id=[0]), task(server, channel_id=[0, 1])
    for task_id in (first, both):
        server.jobs.done(task_id, second)
    assert transcription(fetch(server, first))["code"] == "SUCCESS_WITH_NO_VALID_FRAGMENT"
    told = transcription(fetch(server, both))
    assert "code" not in told
    assert [one["text"] for one in told["transcripts"]] == ["", "Hello there!"]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("audio_address_not_fetched", "FILE_DOWNLOAD_FAILED"),
        ("audio_undecodable", "FILE_PARSE_FAILED"),
        ("audio_too_long", "AUDIO_DURATION_TOO_LONG"),
        ("something_else", "InternalError"),
    ],
)
def test_a_task_that_failed_says_why(server: Running, code: str, name: str) -> None:
    task_id = task(server)
    server.jobs.turn(task_id, "failed", failure=Failure("SomeError", code, "That is why."))
    output = fetch(server, task_id)
    assert (output["task_status"], output["code"], output["message"]) == ("FAILED", name, "That is why.")
    assert output["results"] == [{"file_url": URL, "code": name, "message": "That is why.", "subtask_status": "FAILED"}]
    assert output["task_metrics"] == {"TOTAL": 1, "SUCCEEDED": 0, "FAILED": 1}


def test_a_task_is_called_off_once(server: Running) -> None:
    task_id = task(server)
    address = f"{server.base}{TASKS}/{task_id}/cancel"
    assert httpx.post(address, headers=bearer()).json().keys() == {"request_id"}
    assert fetch(server, task_id)["task_status"] == "CANCELED"
    assert refusal(httpx.post(address, headers=bearer()))[:2] == (400, "UnsupportedOperation")
    assert refusal(httpx.post(f"{server.base}{TASKS}/job_unheard_of/cancel", headers=bearer()))[0] == 404


def test_tasks_of_others_and_of_other_interfaces_are_unknown(server: Running) -> None:
    mine, other = task(server), server.task()
    assert fetch(server, mine, OTHER_KEY)["task_status"] == "UNKNOWN"
    assert fetch(server, other)["task_status"] == "UNKNOWN"
    assert server.poll(mine).json()["StatusText"] == "FILE_TRANS_TASK_EXPIRED"


def test_a_transcript_is_had_by_its_secret_only(server: Running) -> None:
    task_id = task(server)
    server.jobs.done(task_id, TRANSCRIPTS["zh"])
    url = fetch(server, task_id)["results"][0]["transcription_url"]
    query = parse_qs(urlsplit(url).query)
    (secret,) = query["secret"]
    assert query.keys() == {"task", "secret"}, "nothing that tells of the key"
    assert len(secret) >= 32
    for wrong in (secret[:-1], "", "x" * 32, "密"):
        asked = {"task": task_id, "secret": wrong}
        assert refusal(httpx.get(f"{server.base}{RESULT}", params=asked))[0] == 404
    assert refusal(httpx.get(f"{server.base}{RESULT}", params={"task": task_id}))[0] == 400
    job = server.jobs.jobs[task_id]
    server.jobs.jobs[task_id] = replace(job, request=replace(job.request, drawing={"dialect": "dashscope"}))
    assert refusal(httpx.get(f"{server.base}{RESULT}", params={"task": task_id, "secret": ""}))[0] == 404


def test_secrets_are_of_each_task_and_in_no_answer_before_the_end(server: Running) -> None:
    first, second = task(server), task(server)
    kept = [str(server.jobs.jobs[one].request.drawing["secret"]) for one in (first, second)]
    assert kept[0] != kept[1]
    assert kept[0] not in str(fetch(server, first))


def test_the_documentation_has_the_fields_that_are_read() -> None:
    assert schema.PARAMETERS.keys() == parameters.WITH_EFFECT | parameters.WITHOUT_EFFECT | parameters.REFUSED
