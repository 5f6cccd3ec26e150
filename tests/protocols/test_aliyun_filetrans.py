"""Alibaba's file transcription: calls as SDKs make them, tasks, their states, results, and errors."""

from __future__ import annotations

import asyncio
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from filetrans_server import KEY, OTHER_KEY, TASK, FakeJobs, Running, serving
from openai_server import ABLE, TRANSCRIPTS

from app.domain import errors
from app.domain.errors import SpeechError
from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.main import create_app
from app.protocols.aliyun.filetrans import schema
from app.protocols.aliyun.filetrans.parameters import WITH_EFFECT
from app.protocols.aliyun.filetrans.statuses import FileStatus
from app.service.auth import KeyRing
from app.service.jobs.job import Failure, Webhook
from app.settings import Settings

UUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("filetrans")) as running:
        yield running


@pytest.fixture
def server(_running: Running) -> Running:
    _running.service.jobs = FakeJobs()  # type: ignore[assignment]
    _running.service.has_speakers(True)
    _running.service.can_write(punctuation=True, numbers=True)
    return _running


def options(server: Running, **fields: object) -> RecognitionOptions:
    server.task(**fields)
    return server.jobs.latest.request.options


def refusal(server: Running, **fields: object) -> tuple[int, str]:
    """The status of a task that is not taken, and why."""
    answer = server.submit(**fields)
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert FileStatus[body["StatusText"]].value == body["StatusCode"]
    assert body["TaskId"] == ""
    assert not server.jobs.jobs
    return body["StatusCode"], body["Message"]


# --- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/filetrans"])
def test_a_task_is_a_job_at_an_address(server: Running, path: str) -> None:
    answer = server.submit(path=path)
    job = server.jobs.latest
    assert answer.json().keys() == {"TaskId", "RequestId", "StatusText", "StatusCode"}
    assert answer.json() | {"RequestId": ""} == {
        "TaskId": job.id,
        "RequestId": "",
        "StatusText": "SUCCESS",
        "StatusCode": 21050000,
    }
    assert UUID.fullmatch(answer.json()["RequestId"])
    assert (job.request.address, job.request.model, job.request.face) == (TASK["file_link"], ABLE.id, "aliyun")
    assert job.request.webhook is None


def test_everything_may_be_in_the_form(server: Running) -> None:
    """As the SDK for Node.js sends it."""
    form = {"Action": "SubmitTask", "AccessKeyId": KEY, "Task": json.dumps(TASK), "Version": "2018-08-17"}
    assert httpx.post(f"{server.base}/", data=form).json()["StatusCode"] == 21050000
    assert server.jobs.latest.owner


def test_everything_may_be_in_the_address(server: Running) -> None:
    query = {"Action": "SubmitTask", "AccessKeyId": KEY, "Task": json.dumps(TASK)}
    assert httpx.post(f"{server.base}/", params=query).json()["StatusCode"] == 21050000


def test_the_action_may_be_a_header_and_the_key_a_credential(server: Running) -> None:
    """As newer SDKs sign their calls."""
    signature = f"ACS3-HMAC-SHA256 Credential={KEY},SignedHeaders=host;x-acs-action,Signature=0a1b"
    headers = {"x-acs-action": "SubmitTask", "x-acs-version": "2018-08-17", "authorization": signature}
    answer = httpx.post(f"{server.base}/", data={"Task": json.dumps(TASK)}, headers=headers)
    assert answer.json()["StatusCode"] == 21050000
    assert server.jobs.latest.owner


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {KEY}"}, {"x-nls-token": KEY}])
def test_a_key_may_also_be_where_others_have_it(server: Running, headers: dict[str, str]) -> None:
    query = {"Action": "SubmitTask"}
    answer = httpx.post(f"{server.base}/", params=query, data={"Task": json.dumps(TASK)}, headers=headers)
    assert answer.json()["StatusCode"] == 21050000


@pytest.mark.parametrize("path", ["/", "/filetrans"])
@pytest.mark.parametrize("key", ["", "wrong-key"])
def test_without_a_key_nobody_is_served(server: Running, path: str, key: str) -> None:
    answer = server.submit(key=key, path=path)
    assert (answer.status_code, answer.json()["Code"]) == (401, "InvalidAccessKeyId.NotFound")
    assert answer.json().keys() == {"RequestId", "Code", "Message"}
    assert "wrong-key" not in answer.text
    assert not server.jobs.jobs


def test_with_no_keys_set_any_is_fine(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("open"), keys=()) as server:
        assert server.submit(key="LTAIany").json()["StatusCode"] == 21050000


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"Action": "SubmitTask"}, 400, "MissingTask"),
        ({"Action": "GetTaskResult"}, 400, "MissingTaskId"),
        ({}, 400, "MissingAction"),
        ({"Action": "CreateToken"}, 400, "InvalidAction.NotFound"),
        ({"Action": "SubmitTask", "Version": "2019-02-28"}, 400, "InvalidVersion"),
        ({"Action": "SubmitTask", "Format": "XML"}, 400, "InvalidParameter"),
    ],
)
def test_a_call_that_is_none_is_answered_as_the_gateway_does(
    server: Running, query: dict[str, str], status: int, code: str
) -> None:
    answer = httpx.post(f"{server.base}/", params=query, data={"AccessKeyId": KEY})
    assert (answer.status_code, answer.json()["Code"]) == (status, code)
    assert UUID.fullmatch(answer.json()["RequestId"])
    assert answer.json()["Message"]


def test_whatever_comes_to_the_path_of_its_own_is_a_call(server: Running) -> None:
    address, key = f"{server.base}/filetrans", {"AccessKeyId": KEY}
    for answer in (httpx.get(address, params=key), httpx.post(address, params=key)):
        assert (answer.status_code, answer.json()["Code"]) == (400, "MissingAction")
    answer = httpx.put(address, headers={"x-nls-token": KEY})
    assert (answer.status_code, answer.json()["Code"]) == (405, "UnsupportedHTTPMethod")


def test_nothing_is_submitted_by_looking(server: Running) -> None:
    query = {"Action": "SubmitTask", "AccessKeyId": KEY, "Task": json.dumps(TASK)}
    answer = httpx.get(f"{server.base}/", params=query)
    assert (answer.json()["Code"], server.jobs.jobs) == ("UnsupportedHTTPMethod", {})


def test_a_parameter_that_is_there_twice_is_refused_where_both_differ(server: Running) -> None:
    query = {"Action": "SubmitTask", "AccessKeyId": KEY, "Task": json.dumps(TASK)}
    assert httpx.post(f"{server.base}/", params=query, data={"Task": query["Task"]}).json()["StatusCode"] == 21050000
    assert httpx.post(f"{server.base}/", params=query, data={"Task": "{}"}).json()["Code"] == "InvalidParameter"


def test_a_call_has_an_end(server: Running) -> None:
    answer = server.submit(hotwords="x" * 2_000_000)
    assert answer.status_code == 413
    assert not server.jobs.jobs


def test_a_form_that_is_none(server: Running) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = httpx.post(f"{server.base}/?AccessKeyId={KEY}", content=b"\xff\xfe=\xff", headers=headers)
    assert (answer.status_code, answer.json()["Code"]) == (400, "InvalidParameter")


def test_the_page_stays_where_it_is(server: Running) -> None:
    page = httpx.get(f"{server.base}/", headers={"accept": "text/html"})
    assert "<html" in page.text
    assert httpx.get(f"{server.base}/").json()["message"] == "Speech server"
    assert httpx.head(f"{server.base}/").status_code == 200
    assert httpx.put(f"{server.base}/").status_code == 405
    assert httpx.post(f"{server.base}/", json={}).json()["Code"] == "InvalidAccessKeyId.NotFound"
    assert httpx.post(f"{server.base}/", json={}, headers={"x-nls-token": KEY}).json()["Code"] == "MissingAction"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.TooManyJobs("Enough.", retry_after=7), 429, "Throttling.User"),
        (errors.Overloaded("Full.", retry_after=7), 429, "Throttling.User"),
        (errors.JobsUnavailable("The database is locked."), 503, "ServiceUnavailable"),
        (errors.StorageFull("The disk is full."), 507, "ServiceUnavailable"),
        (errors.SpeechError("Something."), 500, "InternalError"),
    ],
)
def test_what_is_the_servers_own_trouble_is_the_gateways(
    server: Running, error: SpeechError, status: int, code: str
) -> None:
    server.jobs.refusal = error
    answer = server.submit()
    assert (answer.status_code, answer.json()["Code"], answer.json()["Message"]) == (status, code, error.message)
    assert ("retry-after" in answer.headers) == (status != 500)


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_without_a_word_about_it_channels_are_kept_apart_and_numbers_stay_as_said(server: Running) -> None:
    asked = options(server)
    assert (asked.split_channels, asked.speakers, asked.itn, asked.punctuation) == (True, None, False, True)
    assert asked == RecognitionOptions(split_channels=True, itn=False)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"enable_inverse_text_normalization": True}, {"itn": True}),
        ({"enable_punctuation_prediction": False}, {"punctuation": False}),
        ({"language": "en-US"}, {"language": "en"}),
        ({"language": "auto"}, {"language": None}),
        ({"hotwords": "阿里巴巴 20"}, {"hotwords": (Hotword("阿里巴巴", 1.0),)}),
        ({"auto_split": True}, {"speakers": SpeakerOptions(), "split_channels": False}),
        ({"auto_split": "true", "speaker_num": 2}, {"speakers": SpeakerOptions(2), "split_channels": False}),
        ({"auto_split": True, "speaker_num": 3, "supervise_type": 1}, {"speakers": SpeakerOptions()}),
        ({"auto_split": True, "speaker_num": 3, "supervise_type": 2}, {"speakers": SpeakerOptions(3)}),
        ({"auto_split": False}, {"speakers": None, "split_channels": True}),
        ({"first_channel_only": True}, {"split_channels": True}),
        (
            {"special_word_filter": {"filter_with_signed": {"word_list": ["坏"]}}},
            {"masking": (Masking(("坏",), "stars"),)},
        ),
    ],
)
def test_what_a_task_asks_for(server: Running, fields: dict[str, object], wanted: dict[str, object]) -> None:
    asked = options(server, **fields)
    if "hotwords" in wanted:
        assert [one.text for one in asked.hotwords] == ["阿里巴巴"]
    else:
        assert {name: getattr(asked, name) for name in wanted} == wanted


def test_silence_that_ends_speech_is_in_milliseconds(server: Running) -> None:
    assert options(server, max_end_silence=450).detection.silence_seconds == 0.45
    assert options(server, max_end_silence="800").detection.silence_seconds == 0.8


def test_a_model_may_be_named(server: Running) -> None:
    server.task(model_id="group/plain")
    assert server.jobs.latest.request.model == "group/plain"


async def _stored(server: Running) -> tuple[str, str]:
    owner = KeyRing((KEY,)).owner([(b"api-key", KEY.encode())])
    store = server.service.vocabularies
    one = await store.put(owner, "firms", (Hotword("阿里巴巴"),), exact=True)
    other = await store.put(owner, "places", (Hotword("北京"),), kind="class", exact=True)
    return one.id, other.id


def test_stored_words_are_listened_for(server: Running) -> None:
    vocabulary, places = asyncio.run(_stored(server))
    asked = options(server, vocabulary_id=vocabulary, class_vocabulary_id=places)
    assert [one.text for one in asked.hotwords] == ["阿里巴巴", "北京"]
    server.service.jobs = FakeJobs()  # type: ignore[assignment]
    assert refusal(server, class_vocabulary_id="0" * 32)[0] == 41050013


@pytest.mark.parametrize(
    "fields",
    [
        {"enable_sample_rate_adaptive": True},
        {"enable_disfluency": True},
        {"enable_semantic_sentence_detection": False},
        {"enable_timestamp_alignment": True},
        {"max_single_segment_time": 10_000},
        {"customization_id": "abc"},
        {"valid_times": []},
        {"callback_url": "https://example.com/"},  # without enable_callback
        {"something_new": 1},
    ],
)
def test_what_changes_nothing(server: Running, fields: dict[str, object]) -> None:
    assert options(server, **fields) == RecognitionOptions(split_channels=True, itn=False)
    assert server.jobs.latest.request.webhook is None


@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        ({"file_link": None}, 41050011, "file_link"),
        ({"file_link": "ftp://example.com/a.wav"}, 41050011, "http"),
        ({"file_link": "D:\\files\\sample.wav"}, 41050011, "file_link"),
        ({"file_link": "https://u:p@example.com/a.wav"}, 41050011, "password"),
        ({"file_link": 7}, 41050011, "file_link"),
        ({"enable_callback": True}, 41050012, "callback_url"),
        ({"enable_callback": True, "callback_url": "example.com"}, 41050012, "callback_url"),
        ({"enable_callback": True, "callback_url": "http://127.0.0.1/"}, 41050012, "WEBHOOK_NETWORKS"),
        ({"version": "3.0"}, 41050013, "version"),
        ({"enable_words": "perhaps"}, 41050013, "enable_words"),
        ({"enable_words": True, "model_id": "group/plain"}, 41050013, "enable_words"),
        ({"model_id": "unheard-of"}, 41050013, "able"),
        ({"language": "Klingon"}, 41050013, "language"),
        ({"max_end_silence": 100}, 41050013, "max_end_silence"),
        ({"max_single_segment_time": 4000}, 41050013, "max_single_segment_time"),
        ({"sentence_max_length": 3}, 41050013, "sentence_max_length"),
        ({"speaker_num": 2}, 41050013, "auto_split"),
        ({"auto_split": True, "speaker_num": 0}, 41050013, "speaker_num"),
        ({"auto_split": True, "supervise_type": 2}, 41050013, "speaker_num"),
        ({"auto_split": True, "supervise_type": 3}, 41050013, "supervise_type"),
        ({"auto_split": True, "first_channel_only": True}, 41050013, "first_channel_only"),
        ({"valid_times": [{"begin_time": 0, "end_time": 9, "channel_id": 0}]}, 41050013, "valid_times"),
        ({"special_word_filter": "{"}, 41050013, "special_word_filter"),
        ({"special_word_filter": {"system_reserved_filter": True}}, 41050013, "system_reserved_filter"),
        ({"vocabulary_id": "0" * 32}, 41050013, "vocabulary"),
        ({"enable_disfluency": "maybe"}, 41050013, "enable_disfluency"),
    ],
)
def test_what_makes_no_sense_or_cannot_be_had_is_said(
    server: Running, fields: dict[str, object], code: int, told: str
) -> None:
    found, why = refusal(server, **fields)
    assert found == code
    assert told in why


@pytest.mark.parametrize("task", ["", "[]", "{", "null", "7", "[" * 100_000])
def test_a_task_that_is_no_object(server: Running, task: str) -> None:
    query = {"Action": "SubmitTask", "AccessKeyId": KEY}
    body = httpx.post(f"{server.base}/", params=query, data={"Task": task}).json()
    assert body.get("StatusCode") == 41050013 if task else body["Code"] == "MissingTask"


def test_what_is_not_on_this_server_is_refused(server: Running) -> None:
    server.service.has_speakers(False)
    server.service.can_write(punctuation=False, numbers=False)
    assert server.submit(auto_split=True).status_code == 503, "they could be had, but were not"
    assert refusal(server, enable_inverse_text_normalization=True)[0] == 41050013
    assert refusal(server, enable_punctuation_prediction=True, model_id="group/unmarked")[0] == 41050013


def test_a_model_that_cannot_listen_for_words_is_not_asked_to(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = server.service.settings.model_copy(update={"asr_hotword_correction": False})
    monkeypatch.setattr(server.service, "settings", plain)
    assert refusal(server, hotwords="阿里", model_id="group/plain")[0] == 41050013
    assert refusal(server, class_vocabulary_id="0" * 32, model_id="group/plain")[0] == 41050013


def test_an_appkey_must_be_this_servers_where_that_has_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("appkey"), appkey="project") as server:
        assert refusal(server)[0] == 41050015
        assert refusal(server, appkey="")[0] == 41050014
        assert server.submit(appkey="project").json()["StatusCode"] == 21050000
        assert server.submit(appkey="", app_key="project").json()["StatusCode"] == 21050000


def test_every_route_is_documented_once() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert create_app(Settings(_env_file=None)).openapi()["paths"]["/filetrans"].keys() == {"get", "post"}


def test_the_documentation_has_the_fields_that_are_read() -> None:
    assert schema.TASK.keys() == WITH_EFFECT


# --- how a task is ----------------------------------------------------------------------------------------------------


def test_a_task_that_waits(server: Running) -> None:
    task_id = server.task()
    answer = server.poll(task_id)
    body = answer.json()
    assert UUID.fullmatch(body.pop("RequestId"))
    assert body == {"TaskId": task_id, "StatusText": "QUEUEING", "StatusCode": 21050002}


def test_a_task_that_is_worked_on(server: Running) -> None:
    task_id = server.task()
    server.jobs.turn(task_id, "running")
    body = server.poll(task_id).json()
    assert (body["StatusText"], body["StatusCode"], body["BizDuration"]) == ("RUNNING", 21050001, 0)
    server.jobs.turn(task_id, "running", duration=4.25)
    assert server.poll(task_id).json()["BizDuration"] == 4250


def test_a_task_that_is_done(server: Running) -> None:
    task_id = server.task(enable_words=True, version="4.0")
    ended = server.jobs.done(task_id, TRANSCRIPTS["two"]).ended
    answer = server.poll(task_id)
    body = answer.json()
    assert answer.headers["x-asr-model"] == ABLE.id
    assert body.keys() == {
        "TaskId", "RequestId", "StatusText", "StatusCode", "BizDuration", "SolveTime", "Result"
    }  # fmt: skip
    assert (body["StatusText"], body["StatusCode"], body["BizDuration"]) == ("SUCCESS", 21050000, 6500)
    assert ended is not None
    assert body["SolveTime"] == round(ended * 1000)
    sentences = body["Result"]["Sentences"]
    assert sentences == [
        {
            "ChannelId": 0,
            "BeginTime": 0,
            "EndTime": 1800,
            "Text": "今天天气很好，",
            "SilenceDuration": 0,
            "SpeechRate": 233,  # 7 in 1.8 s
        },
        {
            "ChannelId": 1,
            "BeginTime": 1500,
            "EndTime": 2400,
            "Text": "Hello there!",
            "SilenceDuration": 1,
            "SpeechRate": 133,  # 2 in 0.9 s
        },
        {
            "ChannelId": 0,
            "BeginTime": 2200,
            "EndTime": 3700,
            "Text": "我们去公园。",
            "SilenceDuration": 0,
            "SpeechRate": 240,
        },
    ]
    words = body["Result"]["Words"]
    assert words[0] == {"ChannelId": 0, "Word": "今", "BeginTime": 0, "EndTime": 300}
    assert [word["Word"] for word in words if word["ChannelId"] == 1] == ["Hello", "there"]


def test_words_are_there_only_where_they_are_wanted(server: Running) -> None:
    task_id = server.task()
    server.jobs.done(task_id, TRANSCRIPTS["two"])
    assert server.poll(task_id).json()["Result"].keys() == {"Sentences"}


def test_only_the_first_channel_is_told_of(server: Running) -> None:
    task_id = server.task(first_channel_only=True, enable_words=True)
    server.jobs.done(task_id, TRANSCRIPTS["two"])
    result = server.poll(task_id).json()["Result"]
    assert {one["ChannelId"] for one in (*result["Sentences"], *result["Words"])} == {0}


def test_sentences_are_no_longer_than_they_may_be(server: Running) -> None:
    task_id = server.task(sentence_max_length=4)
    server.jobs.done(task_id, TRANSCRIPTS["zh"])
    sentences = server.poll(task_id).json()["Result"]["Sentences"]
    assert all(len(one["Text"]) <= 4 for one in sentences)
    assert "".join(one["Text"] for one in sentences) == TRANSCRIPTS["zh"].text


def test_a_recording_without_speech(server: Running) -> None:
    task_id = server.task()
    server.jobs.done(task_id, TRANSCRIPTS["empty"])
    body = server.poll(task_id).json()
    assert (body["StatusText"], body["StatusCode"]) == ("SUCCESS_WITH_NO_VALID_FRAGMENT", 21050003)
    assert body["Result"] == {"Sentences": []}


def test_a_first_channel_without_speech(server: Running) -> None:
    """Whoever speaks on another one is left out."""
    task_id = server.task(first_channel_only=True)
    two = TRANSCRIPTS["two"]
    second = tuple(one for one in two.segments if one.speaker and one.speaker.number == 1)
    assert second
    server.jobs.done(task_id, replace(two, segments=second))
    body = server.poll(task_id).json()
    assert (body["StatusText"], body["Result"]) == ("SUCCESS_WITH_NO_VALID_FRAGMENT", {"Sentences": []})


def test_what_a_reader_should_know_is_said(server: Running) -> None:
    task_id = server.task()
    server.jobs.done(task_id, TRANSCRIPTS["warned"])
    assert server.poll(task_id).json()["Warnings"] == ["audio_truncated"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("audio_address_not_fetched", "FILE_DOWNLOAD_FAILED"),
        ("audio_empty", "FILE_CHECK_FAILED"),
        ("audio_stream_missing", "FILE_CHECK_FAILED"),
        ("audio_undecodable", "FILE_PARSE_FAILED"),
        ("audio_too_short", "SUCCESS_WITH_NO_VALID_FRAGMENT"),
        ("upload_too_large", "FILE_TOO_LARGE"),
        ("audio_too_long", "FILE_TOO_LARGE"),
        ("audio_quota_too_small", "USER_BIZDURATION_QUOTA_EXCEED"),
        ("key_limit_exceeded", "USER_BIZDURATION_QUOTA_EXCEED"),
        ("deadline_exceeded", "FILE_TRANS_TIMEOUT"),
        ("engine_failure", "RECOGNIZE_FAILED"),
        ("ended_by_operator", "RECOGNIZE_INTERRUPT"),
        ("model_not_found", "REQUEST_PARAMETER_INVALID"),
        ("something_else", "INTERNAL_ERROR"),
    ],
)
def test_a_task_that_failed_says_why(server: Running, code: str, status: str) -> None:
    task_id = server.task()
    server.jobs.turn(task_id, "failed", failure=Failure("SomeError", code, "That is why."))
    body = server.poll(task_id).json()
    assert (body["StatusText"], body["StatusCode"]) == (status, FileStatus[status].value)
    assert (body["Message"], body["BizDuration"]) == ("That is why.", 0)
    assert body["SolveTime"] > 0


def test_an_address_that_makes_no_sense_when_it_is_fetched(server: Running) -> None:
    task_id = server.task()
    failure = Failure("InvalidParameter", "invalid_value", "It is none.", "file_link")
    server.jobs.turn(task_id, "failed", failure=failure)
    assert server.poll(task_id).json()["StatusCode"] == 41050011


def test_a_task_that_was_called_off(server: Running) -> None:
    task_id = server.task()
    server.jobs.turn(task_id, "cancelled")
    assert server.poll(task_id).json()["StatusText"] == "RECOGNIZE_INTERRUPT"


def test_tasks_of_others_do_not_exist(server: Running) -> None:
    task_id = server.task()
    for answer in (server.poll(task_id, OTHER_KEY), server.poll("job_unheard_of")):
        assert (answer.status_code, answer.json()["StatusCode"]) == (200, 41050010)
        assert answer.json()["StatusText"] == "FILE_TRANS_TASK_EXPIRED"
    assert server.poll(task_id).json()["StatusText"] == "QUEUEING"


def test_jobs_of_other_protocols_are_no_tasks(server: Running) -> None:
    task_id = server.task()
    job = server.jobs.jobs[task_id]
    server.jobs.jobs[task_id] = replace(job, request=replace(job.request, face="jobs"))
    assert server.poll(task_id).json()["StatusText"] == "FILE_TRANS_TASK_EXPIRED"


def test_a_task_may_also_be_asked_for_by_post(server: Running) -> None:
    form = {"Action": "GetTaskResult", "TaskId": server.task(), "AccessKeyId": KEY}
    assert httpx.post(f"{server.base}/", data=form).json()["StatusText"] == "QUEUEING"


def test_a_callback_is_a_webhook(server: Running) -> None:
    server.task(enable_callback=True, callback_url="https://example.com/heard?id=1")
    assert server.jobs.latest.request.webhook == Webhook("https://example.com/heard?id=1")
