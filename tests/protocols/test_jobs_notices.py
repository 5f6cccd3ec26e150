"""What a webhook is sent of each state."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from openai_server import TRANSCRIPTS

from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.domain.transcript import Transcript
from app.protocols.jobs.notices import draw
from app.service.jobs.job import Failure, Job, JobRequest, Notice, Progress, State, Webhook

REQUEST = JobRequest(
    "able",
    RecognitionOptions(speakers=SpeakerOptions()),
    name="会议.wav",
    drawing={"response_format": "verbose_json", "labels": "zh", "words": False, "webhook_result": False},
    webhook=Webhook("https://example.org/hook", "a secret of many letters"),
    metadata={"a": "b"},
)
ENDED = Job(
    "job_1", "owner", REQUEST, "succeeded", 1_700_000_000.5, 1_700_000_004.0, 1_700_000_009.0, 1_700_600_000.0, 1,
    Progress("recognise", 600.0, 600.0, 8, 8, 1.0),
)  # fmt: skip


def drawn(state: State, job: Job = ENDED, transcript: Transcript | None = TRANSCRIPTS["two"]) -> dict[str, Any]:
    asked: list[bool] = []

    async def read() -> Transcript | None:
        asked.append(True)
        return transcript

    message = asyncio.run(draw(Notice("id", job, state, 1_700_000_009.25), read))
    assert message.media_type == "application/json"
    body: dict[str, Any] = json.loads(message.body)
    assert bool(asked) == (state == "succeeded" and bool(job.request.drawing["webhook_result"]))
    assert "a secret" not in message.body.decode()
    return body


def telling(shape: str) -> Job:
    drawing = {**REQUEST.drawing, "response_format": shape, "webhook_result": True}
    return replace(ENDED, request=replace(REQUEST, drawing=drawing))


def test_a_notice_has_its_type_its_time_and_the_job() -> None:
    body = drawn("succeeded")
    assert (body["type"], body["timestamp"]) == ("job.succeeded", "2023-11-14T22:13:29.250Z")
    assert set(body) == {"type", "timestamp", "data"}, "no transcript, unless it is asked for"
    data = body["data"]
    assert (data["id"], data["object"], data["state"], data["metadata"]) == ("job_1", "job", "succeeded", {"a": "b"})
    assert (data["webhook"], data["name"]) == ("https://example.org/hook", "会议.wav")


def test_a_notice_that_comes_late_tells_of_its_own_state() -> None:
    queued, running = drawn("queued")["data"], drawn("running")["data"]
    assert (queued["state"], queued["started_at"], queued["ended_at"], queued["attempts"]) == ("queued", None, None, 0)
    assert queued["progress"]["percent"] == 0
    assert (running["state"], running["started_at"], running["ended_at"]) == ("running", 1_700_000_004, None)
    assert running["expires_at"] is None


def test_a_notice_that_comes_late_has_none_of_the_numbers_that_came_later() -> None:
    job = replace(ENDED, attempts=3, waits_for="no room")
    running = drawn("running", job)["data"]
    assert (running["attempts"], running["waits_for"]) == (1, "")
    assert running["progress"] == {
        **{"percent": 0, "seconds_done": 0, "seconds_total": None, "pieces_done": 0, "pieces_total": 0},
        **{"step": None, "seconds_left": None},
    }
    put_back = drawn("queued", replace(job, state="queued", ended=None, expires=None))["data"]
    assert (put_back["started_at"], put_back["attempts"], put_back["waits_for"]) == (None, 0, "")
    assert put_back["progress"] == running["progress"]
    goes_on = drawn("running", replace(job, state="running", ended=None, expires=None, attempts=2))["data"]
    assert (goes_on["attempts"], goes_on["progress"]["pieces_done"]) == (2, 8), "it is in that state"


def test_a_notice_of_a_failure_says_why() -> None:
    failure = Failure("UndecodableAudio", "audio_undecodable", "Not audio.", "file")
    body = drawn("failed", replace(telling("json"), state="failed", failure=failure))
    assert body["data"]["error"] == {"code": "audio_undecodable", "message": "Not audio.", "param": "file"}
    assert "result" not in body
    earlier = drawn("running", replace(ENDED, state="failed", failure=failure))
    assert earlier["data"]["error"] is None


def test_a_notice_of_a_job_that_was_called_off() -> None:
    body = drawn("cancelled", replace(telling("json"), state="cancelled"))
    assert (body["type"], body["data"]["state"]) == ("job.cancelled", "cancelled")
    assert "result" not in body


@pytest.mark.parametrize(
    ("shape", "is_it"),
    [
        ("json", lambda result: result["text"] == TRANSCRIPTS["two"].text),
        ("verbose_json", lambda result: result["segments"][0]["speaker"] == "说话人1"),
        ("diarized_json", lambda result: result["segments"][0]["speaker"] == "A"),
        ("text", lambda result: result == TRANSCRIPTS["two"].text + "\n"),
        ("srt", lambda result: "[说话人1] " in result),
        ("vtt", lambda result: result.startswith("WEBVTT")),
    ],
)
def test_the_result_goes_with_the_last_notice_where_it_is_asked_for(shape: str, is_it: Callable[[Any], bool]) -> None:
    assert is_it(drawn("succeeded", telling(shape))["result"])
    assert "result" not in drawn("running", telling(shape))


def test_a_result_that_is_gone_is_left_out() -> None:
    assert "result" not in drawn("succeeded", telling("json"), None)
