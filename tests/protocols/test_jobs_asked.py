"""What a job's form turns into, and what of it is refused before there is a job."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jobs_server import MAX_BYTES, MOST_JOBS, PATH, Room, ask, jobs_served, made, owner_of, refused, until, uploaded
from openai_server import KEY, OTHER_KEY

from app.audio.declared import DeclaredSound
from app.domain.options import SpeechDetection
from app.domain.speakers import SpeakerOptions
from app.protocols.jobs.fields import JOB_FIELDS
from app.protocols.jobs.schema import job_request
from app.service.jobs.job import Webhook

HOOK = "https://example.org/hook"


@pytest.fixture(scope="module")
def _room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with jobs_served(tmp_path_factory.mktemp("jobs")) as room:
        yield room


@pytest.fixture
def room(_room: Room) -> Iterator[Room]:
    _room.clear()
    yield _room
    until(lambda: not list(_room.temp.iterdir()))
    assert _room.handing_over.active == 0


@pytest.fixture
def client(room: Room) -> Iterator[httpx.Client]:
    with room.client() as client:
        yield client


def test_a_job_is_accepted_with_its_bytes_and_shown(room: Room, client: httpx.Client) -> None:
    answer = ask(client, b"sound")
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{PATH}/{job['id']}"
    assert answer.headers["x-asr-model"] == "able"
    assert room.content(job["id"]) == b"sound"
    assert abs(job.pop("created_at") - room.job(job["id"]).created) < 1
    assert job == {
        "id": job["id"],
        "object": "job",
        "state": "queued",
        "started_at": None,
        "ended_at": None,
        "expires_at": None,
        "model": "able",
        "name": "会议 1.wav",
        "metadata": {},
        "progress": {
            "percent": 0.0,
            "seconds_done": 0.0,
            "seconds_total": None,
            "pieces_done": 0,
            "pieces_total": 0,
            "step": None,
            "seconds_left": None,
        },
        "attempts": 0,
        "waits_for": "",
        "error": None,
        "webhook": None,
        "response_format": "verbose_json",
    }
    assert client.get(answer.headers["location"]).json()["id"] == job["id"]


def test_every_option_of_the_transcription_route_is_kept(room: Room, client: httpx.Client) -> None:
    fields: dict[str, Any] = {
        "model": "able",
        "language": "zh-CN",
        "prompt": "上文。",
        "temperature": 0.4,
        "keywords[]": ["甲", "乙"],
        "hotwords": "丙 2",
        "response_format": "srt",
        "chunking_strategy": {"type": "server_vad", "threshold": 0.6},
        "min_speakers": 2,
        "max_speakers": 4,
        "sensitive_words": "代号",
        "punctuation": False,
        "itn": True,
    }
    request = room.job(made(ask(client, **fields))).request
    options = request.options
    assert (options.language, options.prompt, options.temperature, options.task) == ("zh", "上文。", 0.4, "transcribe")
    assert [word.text for word in options.hotwords] == ["甲", "乙", "丙"]
    assert options.detection == SpeechDetection(threshold=0.6)
    assert options.speakers == SpeakerOptions(None, 2, 4)
    assert (options.punctuation, options.itn, len(options.masking)) == (False, True, 1)
    assert request.drawing["response_format"] == "srt"


def test_a_job_is_recognised_for_every_format(room: Room, client: httpx.Client) -> None:
    options = room.job(made(ask(client, response_format="text"))).request.options
    assert options.timed
    assert options.speakers == SpeakerOptions()


def test_a_job_may_translate(room: Room, client: httpx.Client) -> None:
    assert room.job(made(ask(client, task="translate"))).request.options.task == "translate"
    refused(ask(client, task="translate", model="group/plain"), 400, "unsupported_feature", "model")


def test_what_is_its_owners_own_is_kept(room: Room, client: httpx.Client) -> None:
    answer = ask(client, name="周会", metadata={"会": "1", "b": ""}, priority=-3, webhook_url=HOOK)
    job = answer.json()
    request = room.job(made(answer)).request
    assert (request.name, request.metadata, request.priority) == ("周会", {"会": "1", "b": ""}, -3)
    assert (job["name"], job["metadata"], job["webhook"]) == ("周会", {"会": "1", "b": ""}, HOOK)


@pytest.mark.parametrize("secret", ["sixteen letters!", f"whsec_{base64.b64encode(bytes(24)).decode()}"])
def test_a_webhooks_secret_is_kept_and_never_told(room: Room, client: httpx.Client, secret: str) -> None:
    answer = ask(client, webhook_url=HOOK, webhook_secret=secret, webhook_result=True)
    request = room.job(made(answer)).request
    assert request.webhook == Webhook(HOOK, secret)
    assert request.drawing["webhook_result"] is True
    assert secret not in answer.text


def test_json_does_as_well_as_a_form(room: Room, client: httpx.Client) -> None:
    body = {
        "input_audio": {"data": base64.b64encode(b"sound").decode(), "format": "pcm;rate=8000"},
        "metadata": {"a": "b"},
        "priority": 2,
        "webhook_result": False,
        "response_format": "text",
    }
    job = room.job(made(client.post(PATH, json=body)))
    assert room.content(job.id) == b"sound"
    assert (job.request.metadata, job.request.priority) == ({"a": "b"}, 2)
    assert job.request.declared == DeclaredSound("s16le", 8000)


def test_plain_fields_do_where_the_recording_is_elsewhere(room: Room, client: httpx.Client) -> None:
    fields = {"upload": uploaded(room, b"long sound"), "metadata": '{"会": "1"}', "keywords[]": ["甲", "乙"]}
    job = room.job(made(client.post(PATH, data=fields)))
    assert room.content(job.id) == b"long sound"
    assert (job.request.metadata, len(job.request.options.hotwords)) == ({"会": "1"}, 2)
    form = {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"name=%ff", b"name=\xff", b"&".join([b"a=b"] * 1201)):
        refused(client.post(PATH, content=body, headers=form), 400, "invalid_value", None)
    refused(client.post(PATH, content=bytes(4 * 1024 * 1024 + 1), headers=form), 413, "upload_too_large", None)
    refused(client.post(PATH, data={"file": "text"}), 400, "invalid_value", "file")


def test_raw_sound_is_declared_by_its_parts_type(room: Room, client: httpx.Client) -> None:
    answer = client.post(PATH, files={"file": ("a", b"sound", "audio/pcm;rate=8000")})
    assert room.job(made(answer)).request.declared == DeclaredSound("s16le", 8000)
    answer = client.post(PATH, files={"file": ("a", b"sound", "audio/l16")})
    refused(answer, 400, "audio_undecodable", "file")


def test_an_address_is_kept_for_later_and_asked_by_nobody_now(room: Room, client: httpx.Client) -> None:
    address = "http://127.0.0.1:1/a/%E4%BC%9A.mp3?sign=x"
    job = room.job(made(ask(client, None, audio_address=address)))
    assert (job.request.address, job.request.name) == (address, "会.mp3")
    assert room.content(job.id) is None


def packed(**metadata: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in metadata.items())


@pytest.mark.parametrize("form", ["{}", "/v1/jobs/uploads/{}", "https://asr.example.org/v1/jobs/uploads/{}"])
def test_a_finished_upload_becomes_a_job(room: Room, client: httpx.Client, form: str) -> None:
    about = packed(filename="../../会议.wav", filetype="audio/pcm;rate=8000")
    upload = form.format(uploaded(room, b"long sound", about))
    job = room.job(made(ask(client, None, upload=upload)))
    assert room.content(job.id) == b"long sound"
    assert (job.request.name, job.request.declared) == ("会议.wav", DeclaredSound("s16le", 8000))
    refused(ask(client, None, upload=upload), 404, "upload_not_found", "upload")


def test_an_upload_that_cannot_be_used_is_refused_and_stays(room: Room, client: httpx.Client) -> None:
    half = uploaded(room, b"half", length=8)
    message = refused(ask(client, None, upload=half), 409, "upload_conflict", "upload")
    assert "4" in message
    odd = uploaded(room, b"odd", packed(filetype="audio/l16"))
    refused(ask(client, None, upload=odd), 400, "audio_undecodable", "upload")
    others = uploaded(room, b"theirs", owner="somebody")
    refused(ask(client, None, upload=others), 404, "upload_not_found", "upload")
    for one, whose in ((half, owner_of(KEY)), (odd, owner_of(KEY)), (others, "somebody")):
        assert asyncio.run(room.service.uploads.find(whose, one)).offset


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream": True}, "stream"),
        ({"task": "sing"}, "task"),
        ({"language": "klingon"}, "language"),
        ({"response_format": "pdf"}, "response_format"),
        ({"num_speakers": 0}, "num_speakers"),
        ({"priority": 11}, "priority"),
        ({"priority": -11}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"priority": "high"}, "priority"),
        ({"metadata": "no json"}, "metadata"),
        ({"metadata": '["a"]'}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"a": "b" * 513}}, "metadata"),
        ({"metadata": {"a" * 65: "b"}}, "metadata"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": '{"a": "\\ud800"}'}, "metadata"),
        ({"metadata": '{"a": "\\u0000"}'}, "metadata"),
        ({"metadata[a]": "b"}, "metadata"),
        ({"metadata": "[" * 100_000}, "metadata"),
        ({"name": "a" * 256}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"webhook_url": "ftp://example.org"}, "webhook_url"),
        ({"webhook_url": "https://user:word@example.org"}, "webhook_url"),
        ({"webhook_url": "http://127.0.0.1/"}, "webhook_url"),
        ({"webhook_secret": "sixteen letters!"}, "webhook_secret"),
        ({"webhook_result": True}, "webhook_result"),
        ({"webhook_result": "perhaps", "webhook_url": HOOK}, "webhook_result"),
        ({"webhook_url": HOOK, "webhook_secret": "fifteen letters"}, "webhook_secret"),
        ({"webhook_url": HOOK, "webhook_secret": "whsec_no base64!"}, "webhook_secret"),
        ({"idempotency_key": "a" * 256}, "idempotency_key"),
        ({"audio_address": "https://example.org/a.wav"}, "audio_address"),
        ({"upload": "upload_00"}, "upload"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(
    room: Room, client: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    refused(ask(client, **fields), 400, "invalid_value", param)
    assert not room.jobs()


@pytest.mark.parametrize(
    ("address", "said"), [("ftp://example.org/a", "http"), ("file:///etc/passwd", "http"), ("https://a:b@c/", "user")]
)
def test_an_address_that_is_none_is_refused(room: Room, client: httpx.Client, address: str, said: str) -> None:
    assert said in refused(ask(client, None, audio_address=address), 400, "invalid_value", "audio_address")
    assert not room.jobs()


def test_a_recording_is_needed(client: httpx.Client) -> None:
    assert "upload" in refused(ask(client, None, language="zh"), 400, "invalid_value", "file")
    refused(ask(client, b""), 400, "audio_empty", "file")
    refused(client.post(PATH, json={}), 400, "invalid_value", "file")
    refused(client.post(PATH, content=b"sound"), 400, "invalid_value", None)


def test_a_recording_that_is_too_large_is_told_by_the_setting_of_jobs(room: Room, client: httpx.Client) -> None:
    answer = ask(client, bytes(MAX_BYTES + 1))
    assert "MAX_JOB_AUDIO_SIZE" in refused(answer, 413, "upload_too_large", "file")
    assert not room.jobs()


def test_wishes_that_the_model_cannot_fulfil_are_refused_now(client: httpx.Client) -> None:
    refused(ask(client, model="nobody"), 404, "model_not_found", "model")
    for field, value in (("prompt", "a"), ("word_timestamps", True), ("include[]", "logprobs")):
        answer = ask(client, model="group/plain", response_format="json", **{field: value})
        refused(answer, 400, "unsupported_feature", field.removesuffix("[]"))


def test_voices_and_vocabularies_that_are_not_there_are_refused_now(client: httpx.Client) -> None:
    refused(ask(client, **{"voices[]": "nobody"}), 404, "voice_not_found", "voices")
    unknown = "vocab_" + "0" * 24
    refused(ask(client, vocabulary_id=unknown), 404, "vocabulary_not_found", "vocabulary_id")


def test_voices_that_come_with_it_are_heard_now(room: Room, client: httpx.Client) -> None:
    url = f"data:audio/wav;base64,{base64.b64encode(b'anna').decode()}"
    fields = {"known_speaker_names[]": "Anna", "known_speaker_references[]": url}
    speakers = room.job(made(ask(client, **fields))).request.options.speakers
    assert speakers is not None
    assert [voice.name for voice in speakers.voices] == ["Anna"]
    crowd = f"data:audio/wav;base64,{base64.b64encode(b'crowd').decode()}"
    answer = ask(client, **{**fields, "known_speaker_references[]": crowd})
    refused(answer, 400, "invalid_value", "known_speaker_references[0]")


def test_without_a_key_nothing_is_read(room: Room) -> None:
    with httpx.Client(base_url=room.base) as stranger:
        refused(ask(stranger), 401, "invalid_api_key", None)
    assert not room.jobs()


def test_who_has_as_many_as_he_may_is_told_when_to_come_back(room: Room, client: httpx.Client) -> None:
    for _ in range(MOST_JOBS):
        made(ask(client, None, audio_address="https://example.org/a.wav"))
    answer = ask(client)
    refused(answer, 429, "too_many_jobs", None)
    assert answer.headers["retry-after"] == "60"
    with room.client(OTHER_KEY) as other:
        made(ask(other))


def test_the_documentation_has_every_field_and_no_other() -> None:
    missing = {
        "multipart/form-data": {"input_audio"},
        "application/json": {"file"},
        "application/x-www-form-urlencoded": {"file", "input_audio"},
    }
    contents = job_request()["requestBody"]["content"]
    assert contents.keys() == missing.keys()
    for kind, content in contents.items():
        described = {name.removesuffix("[]") for name in content["schema"]["properties"]}
        assert described == JOB_FIELDS - {"stream"} - missing[kind]


def test_the_document_is_one(room: Room, client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    paths = {path: sorted(methods) for path, methods in document["paths"].items() if path.startswith(PATH)}
    assert paths == {
        "/v1/jobs": ["get", "post"],
        "/v1/jobs/{id}": ["delete", "get"],
        "/v1/jobs/{id}/result": ["get"],
        "/v1/jobs/{id}/partial": ["get"],
        "/v1/jobs/{id}/cancel": ["post"],
        "/v1/jobs/{id}/events": ["get"],
    }
    assert json.dumps(document).count("job_5f1d0c9ab3e24786a1c05d9e") > 5
