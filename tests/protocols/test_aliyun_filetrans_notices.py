"""What a callback of Alibaba's file transcription is sent: in either version's shape, when the task has ended."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from openai_server import ABLE, TRANSCRIPTS

from app.domain.options import RecognitionOptions
from app.domain.transcript import Transcript
from app.protocols.aliyun.filetrans.notices import draw
from app.protocols.aliyun.filetrans.wire import Shown, shown_of
from app.service.jobs.job import ENDED, Failure, Job, JobRequest, Notice, Progress, State, Webhook


def told(
    state: State, transcript: Transcript | None = None, failure: Failure | None = None, **shown: Any
) -> dict[str, Any] | None:
    """What is sent of a job that has come to a state."""
    drawing = Shown(**shown).drawing()
    request = JobRequest(
        ABLE.id, RecognitionOptions(), face="aliyun", drawing=drawing, webhook=Webhook("https://example.com/")
    )
    ended = 1_700_000_010.25 if state in ENDED else None
    progress = Progress(duration=transcript.duration if transcript else None)
    job = Job("job_1", "me", request, state, 1_700_000_000.5, ended=ended, failure=failure, progress=progress)

    async def read() -> Transcript | None:
        return transcript

    message = asyncio.run(draw(Notice("notice_1", job, state, 1_700_000_010.5), read))
    if message is None:
        return None
    assert message.media_type == "application/json"
    return json.loads(message.body)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_nothing_is_said_before_the_end(state: State) -> None:
    assert told(state) is None


def test_version_4_sends_what_a_poll_answers_and_when_it_was_asked_for() -> None:
    body = told("succeeded", TRANSCRIPTS["zh"], version="4.0", words=True)
    assert body is not None
    result = body.pop("Result")
    assert body == {
        "TaskId": "job_1",
        "StatusText": "SUCCESS",
        "StatusCode": 21050000,
        "BizDuration": 4250,
        "SolveTime": 1_700_000_010_250,
        "RequestTime": 1_700_000_000_500,
    }
    assert [one["Text"] for one in result["Sentences"]] == ["今天天气很好，", "我们去公园。"]
    assert result["Words"][0] == {"ChannelId": 0, "Word": "今", "BeginTime": 0, "EndTime": 300}


def test_version_2_has_other_names_and_the_sentences_in_result() -> None:
    body = told("succeeded", TRANSCRIPTS["zh"])
    assert body is not None
    assert body == {
        "task_id": "job_1",
        "status_text": "SUCCESS",
        "status_code": 21050000,
        "biz_duration": 4250,
        "solve_time": 1_700_000_010_250,
        "request_time": 1_700_000_000_500,
        "result": [
            {
                "channel_id": 0,
                "begin_time": 0,
                "end_time": 2300,
                "text": "今天天气很好，",
                "silence_duration": 0,
                "speech_rate": 182,
            },
            {
                "channel_id": 0,
                "begin_time": 2500,
                "end_time": 4200,
                "text": "我们去公园。",
                "silence_duration": 0,
                "speech_rate": 211,
            },
        ],
    }


def test_version_2_has_words_beside_them() -> None:
    body = told("succeeded", TRANSCRIPTS["zh"], words=True)
    assert body is not None
    assert body["words"][0] == {"channel_id": 0, "word": "今", "begin_time": 0, "end_time": 300}


@pytest.mark.parametrize(
    ("version", "text", "code"), [("2.0", "status_text", "status_code"), ("4.0", "StatusText", "StatusCode")]
)
def test_a_failure_is_told_in_both(version: str, text: str, code: str) -> None:
    failure = Failure("AddressNotFetched", "audio_address_not_fetched", "It answered 404.")
    body = told("failed", failure=failure, version=version)
    assert body is not None
    assert (body[text], body[code]) == ("FILE_DOWNLOAD_FAILED", 41050002)
    assert "It answered 404." in body.values()
    assert not {"Result", "result"} & body.keys()


def test_what_was_called_off_is_told() -> None:
    body = told("cancelled", version="4.0")
    assert body is not None
    assert body["StatusText"] == "RECOGNIZE_INTERRUPT"


def test_nothing_said_is_no_failure() -> None:
    body = told("succeeded", TRANSCRIPTS["empty"])
    assert body is not None
    assert (body["status_text"], body["result"]) == ("SUCCESS_WITH_NO_VALID_FRAGMENT", [])


def test_what_is_to_be_shown_comes_back_as_it_was_kept() -> None:
    for shown in (Shown(), Shown("4.0", words=True, longest=12, first_channel=True)):
        assert shown_of(json.loads(json.dumps(shown.drawing()))) == shown
