"""OddASR's tasks: what is handed over, how a task is, what came of it, and errors in their shape."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jobs_in_memory import FakeJobs, JobService
from openai_server import ABLE, KEY, MAX_BYTES, OTHER_KEY, TRANSCRIPTS, wait_until
from served import served

from app.audio.declared import DeclaredSound
from app.domain import errors
from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.protocols.errors import Faces
from app.protocols.oddasr.rest import errors as oddasr_errors
from app.protocols.oddasr.rest import http as oddasr_http
from app.protocols.oddasr.rest import task_schema, tasks, word_lists
from app.protocols.openai import errors as openai_errors
from app.service.auth import KeyRing
from app.service.jobs.job import Failure, Job, Progress
from app.service.uploads import RequestId, UploadGuard
from app.settings import Settings

OWNER = KeyRing((KEY,)).owner([(b"api-key", KEY.encode())])


@dataclass
class Running:
    base: str
    service: JobService
    temp: Path

    @property
    def jobs(self) -> FakeJobs:
        return self.service.jobs  # type: ignore[return-value]

    @property
    def options(self) -> RecognitionOptions:
        return self.jobs.latest.request.options

    def post(self, path: str, key: str = KEY, **given: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.post(f"{self.base}{tasks.PATH}/{path}", headers=headers, timeout=20, **given)

    def create(self, content: bytes = b"zh", kind: str = "audio/wav", **fields: Any) -> httpx.Response:
        """As OddASR's page does."""
        return self.post("create", files={"file": ("会议.wav", content, kind)}, data={"priority": "0"} | fields)

    def task(self, **fields: Any) -> str:
        answer = self.create(**fields)
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"error_code", "error_desc", "data"}
        assert (answer.json()["error_code"], answer.json()["error_desc"]) == (0, "ok")
        return answer.json()["data"]["task_id"]

    def data(self, path: str, task_id: str) -> dict[str, Any]:
        answer = self.post(path, json={"task_id": task_id})
        assert (answer.status_code, answer.json()["error_code"]) == (200, 0), answer.text
        return answer.json()["data"]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Running]:
    temp = folder / "temp"
    temp.mkdir()
    given = {"temp_dir": temp, "data_dir": folder / "data", "max_audio_size": f"{MAX_BYTES}B"}
    service = JobService(Settings(_env_file=None, **given, max_job_audio_size=f"{MAX_BYTES}B"))
    app = FastAPI(redirect_slashes=False)
    app.state.service = service
    app.state.keyring = keyring = KeyRing((KEY, OTHER_KEY))
    for one in (oddasr_http, tasks, word_lists):
        app.include_router(one.router)
    faces = Faces(openai_errors.face, oddasr_errors.FACES)
    faces.install(app)
    app.add_middleware(UploadGuard, keyring=keyring, max_bytes=MAX_BYTES, idle_seconds=10, refuse=faces.refusal)
    app.add_middleware(RequestId)
    try:
        with served(app) as port:
            yield Running(f"http://127.0.0.1:{port}", service, temp)
    finally:
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("oddasr")) as running:
        yield running


@pytest.fixture
def server(_running: Running) -> Iterator[Running]:
    _running.service.jobs = FakeJobs()  # type: ignore[assignment]
    _running.service.has_speakers(True)
    yield _running
    assert wait_until(lambda: not list(_running.temp.iterdir())), "an upload was left behind"


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Its status, and why."""
    body = answer.json()
    assert body.keys() == {"error_code", "error_desc", "data"}
    assert (body["error_code"], body["data"]) == (answer.status_code, {"task_id": ""})
    return answer.status_code, body["error_desc"]


# --- handing over -----------------------------------------------------------------------------------------------------


def test_a_task_is_a_job_with_its_recording(server: Running) -> None:
    task_id = server.task(priority="3")
    job = server.jobs.latest
    assert (job.id, job.owner, server.jobs.recordings[job.id]) == (task_id, OWNER, b"zh")
    request = job.request
    assert (request.model, request.face, request.name, request.priority) == (ABLE.id, "oddasr", "会议.wav", 3)
    assert (request.address, request.webhook, request.declared) == (None, None, None)
    assert request.options == RecognitionOptions(timed=True), "sentences have their times in every layout"


def test_the_recording_may_be_called_audio_and_be_samples(server: Running) -> None:
    answer = server.post("create", files={"audio": ("a", b"zh", "audio/pcm;rate=8000")})
    assert answer.status_code == 200
    assert server.jobs.latest.request.declared == DeclaredSound("s16le", 8000)


@pytest.mark.parametrize(
    ("said", "name"), [("C:\\x\\y.wav", "y.wav"), ("/tmp/a\x00b.wav", "ab.wav"), ("n" * 400, "n" * 255)]
)
def test_a_name_is_no_path(server: Running, said: str, name: str) -> None:
    server.post("create", files={"file": (said, b"zh")})
    kept = server.jobs.latest.request.name
    assert kept in {name, name.replace("ab", "a%00b")}, "clients write it in different ways"
    assert "/" not in kept


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"output_format": "spk"}, {"speakers": SpeakerOptions()}),
        ({"output_format": "srt", "speakers": "false"}, {"speakers": None}),
        ({"language": "en"}, {"language": "en"}),
        ({"punctuation": "false", "itn": "true"}, {"punctuation": False, "itn": True}),
        (
            {"sensitive_words": "坏话", "sensitive_style": "parentheses"},
            {"masking": (Masking(("坏话",), "parentheses"),)},
        ),
    ],
)
def test_fields_are_those_of_recognition(server: Running, fields: dict[str, str], wanted: dict[str, object]) -> None:
    server.task(**fields)
    assert {name: getattr(server.options, name) for name in wanted} == wanted


def test_stored_words_are_named_by_their_unique_id(server: Running) -> None:
    async def store() -> None:
        words = server.service.vocabularies
        await words.put(OWNER, "team_0", (Hotword("小落"),), exact=True)
        await words.put(OWNER, "team", (Hotword("坏话"),), kind="sensitive", exact=True)

    asyncio.run(store())
    server.task(hot_uid="team", sensitive_uid="team")
    assert [one.text for one in server.options.hotwords] == ["小落"]
    assert [one.terms for one in server.options.masking] == [("坏话",)]
    assert refusal(server.create(hot_uid="nobody"))[0] == 404
    assert refusal(server.create(sensitive_uid="nobody"))[0] == 404


def uploaded(server: Running, content: bytes, length: int = 0, **about: str) -> str:
    """The id of a resumable upload, whose client said that of its file; one of more bytes than that is not finished."""
    metadata = ",".join(f"{name} {base64.b64encode(said.encode()).decode()}" for name, said in about.items())

    async def work() -> str:
        uploads = server.service.uploads
        upload = await uploads.create(OWNER, length or len(content), metadata)
        async with uploads.writing(OWNER, upload.id) as writing:
            await writing.append(content)
        return upload.id

    return asyncio.run(work())


def of_upload(server: Running, upload: str) -> httpx.Response:
    return server.post("create", files={"upload": (None, upload)})


@pytest.mark.parametrize("form", ["{}", "/v1/jobs/uploads/{}"])
def test_a_finished_upload_may_be_named_in_place_of_a_recording(server: Running, form: str) -> None:
    upload = uploaded(server, b"long")
    assert refusal(server.create(upload=upload))[0] == 400
    answer = of_upload(server, form.format(upload))
    assert server.jobs.recordings[answer.json()["data"]["task_id"]] == b"long"
    assert (server.jobs.latest.request.name, server.jobs.latest.request.declared) == ("", None)
    assert refusal(of_upload(server, upload))[0] == 404, "it is the task's now"


def test_what_an_upload_s_client_said_of_its_file_is_known(server: Running) -> None:
    upload = uploaded(server, b"samples", filename="../../会议.pcm", filetype="audio/L16;rate=16000")
    assert of_upload(server, upload).status_code == 200
    request = server.jobs.latest.request
    assert (request.name, request.declared) == ("会议.pcm", DeclaredSound("s16be", 16_000))


def test_an_upload_that_cannot_be_used_is_refused_and_stays(server: Running) -> None:
    half, odd = uploaded(server, b"half", 8), uploaded(server, b"odd", filetype="audio/L16")
    assert refusal(of_upload(server, half))[0] == 409
    status, why = refusal(of_upload(server, odd))
    assert status == 400
    assert "rate" in why
    for one in (half, odd):
        assert asyncio.run(server.service.uploads.find(OWNER, one)).offset
    assert not server.jobs.jobs


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"priority": "11"}, "priority"),
        ({"priority": "0.5"}, "priority"),
        ({"priority": "high"}, "priority"),
        ({"output_format": "json"}, "output_format"),
        ({"mode": "stream"}, "mode"),
        ({"speakers": "true"}, "speakers"),
        ({"language": "Klingon"}, "language"),
        ({"punctuation": "perhaps"}, "punctuation"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(server: Running, fields: dict[str, str], told: str) -> None:
    status, why = refusal(server.create(**fields))
    assert status == 400
    assert told in why
    assert not server.jobs.jobs


def test_a_form_without_a_recording(server: Running) -> None:
    assert refusal(server.post("create", files={"priority": (None, "0")}))[0] == 400
    assert refusal(server.post("create", json={}))[0] == 400
    assert refusal(server.post("create", data={"file": "text"}))[0] == 400
    assert refusal(server.create(b""))[0] == 400
    assert refusal(server.create(model="unheard-of"))[0] == 404


def test_a_recording_that_is_too_large(server: Running) -> None:
    status, why = refusal(server.create(b"x" * (MAX_BYTES + 1)))
    assert status == 413
    assert "MAX_JOB_AUDIO_SIZE" in why


def test_trouble_of_the_servers_own_is_told(server: Running) -> None:
    server.jobs.refusal = errors.TooManyJobs("Enough.", retry_after=7)
    answer = server.create()
    assert refusal(answer) == (429, "Enough.")
    assert answer.headers["retry-after"] == "7"
    server.jobs.refusal = errors.StorageFull("The disk is full.")
    assert refusal(server.create()) == (507, "The disk is full.")


def test_without_a_key_nobody_is_served(server: Running) -> None:
    assert refusal(server.post("create", key="wrong", files={"file": ("a", b"zh")}))[0] == 401


# --- how it is --------------------------------------------------------------------------------------------------------


def test_a_task_that_waits(server: Running) -> None:
    task_id = server.task()
    assert server.data("status", task_id) == {"task_id": task_id, "status": 0, "texts": [], "percent": 0.0}


def test_a_task_that_is_worked_on(server: Running) -> None:
    task_id = server.task()
    job = server.jobs.turn(task_id, "running")
    progress = Progress(duration=100.0, share=0.4217, left=12.34)
    server.jobs.jobs[task_id] = replace(job, progress=progress, waits_for="the disk is full")
    assert server.data("status", task_id) == {
        "task_id": task_id,
        "status": 1,
        "texts": [],
        "percent": 42.2,
        "seconds_left": 12.3,
        "waits_for": "the disk is full",
    }


def test_a_task_that_is_done(server: Running) -> None:
    task_id = server.task(output_format="spk")
    server.jobs.done(task_id, TRANSCRIPTS["two"])
    texts = [
        {"bg": 0, "ed": 1800, "text": "今天天气很好，", "spk": "发言人 0"},
        {"bg": 1500, "ed": 2400, "text": "Hello there!", "spk": "Anna"},
        {"bg": 2200, "ed": 3700, "text": "我们去公园。", "spk": "发言人 0"},
    ]
    assert server.data("status", task_id) == {"task_id": task_id, "status": 2, "texts": texts, "percent": 100.0}
    text = "发言人 0: 今天天气很好，\nAnna: Hello there!\n发言人 0: 我们去公园。"
    assert server.data("result", task_id) == {"task_id": task_id, "status": 2, "text": text, "texts": texts}


def test_the_layout_is_the_one_that_was_asked_for(server: Running) -> None:
    plain, titles = server.task(), server.task(output_format="srt", speakers="false")
    for task_id in (plain, titles):
        server.jobs.done(task_id, TRANSCRIPTS["zh"])
    assert server.data("result", plain)["text"] == "今天天气很好，我们去公园。"
    assert server.data("result", titles)["text"].startswith("1\n00:00:00,000 --> ")
    assert "spk" not in server.data("result", plain)["texts"][0]


def test_a_task_that_came_to_nothing_says_why(server: Running) -> None:
    failed, cancelled = server.task(), server.task()
    failure = Failure("UndecodableAudio", "audio_undecodable", "Not audio.")
    server.jobs.turn(failed, "failed", failure=failure)
    server.jobs.turn(cancelled, "cancelled")
    assert (server.data("status", failed)["status"], server.data("status", failed)["reason"]) == (3, "Not audio.")
    assert (server.data("status", cancelled)["status"]) == 3
    assert "cancelled" in server.data("status", cancelled)["reason"]


@pytest.mark.parametrize("state", ["queued", "running", "failed", "cancelled"])
def test_there_is_no_result_of_what_is_not_done(server: Running, state: Any) -> None:
    task_id = server.task()
    server.jobs.turn(task_id, state)
    assert refusal(server.post("result", json={"task_id": task_id}))[0] == 409


def test_a_task_is_called_off(server: Running) -> None:
    task_id = server.task()
    assert server.data("cancel", task_id) == {"task_id": task_id}
    assert server.data("status", task_id)["status"] == 3
    assert server.data("cancel", task_id) == {"task_id": task_id}, "said again, it changes nothing"


def test_a_task_is_forgotten(server: Running) -> None:
    task_id = server.task()
    assert server.data("delete", task_id) == {"task_id": task_id}
    assert refusal(server.post("status", json={"task_id": task_id}))[0] == 404


# --- naming it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"json": {"task_id": "%"}},
        {"data": {"task_id": "%"}},
        {"files": {"task_id": (None, "%")}},
        {"params": {"task_id": "%"}},
    ],
)
def test_a_task_is_named_in_any_way(server: Running, given: dict[str, Any]) -> None:
    task_id = server.task()
    ((how, fields),) = given.items()
    named = (None, task_id) if how == "files" else task_id
    assert server.post("status", **{how: dict.fromkeys(fields, named)}).json()["data"]["task_id"] == task_id


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"json": {}},
        {"json": {"task_id": 7}},
        {"json": []},
        {"content": b"{", "headers": {"content-type": "application/json", "x-nls-token": KEY}},
        {"data": {"task_id": " "}},
        {"files": {"task_id": ("a.wav", b"zh")}},
    ],
)
def test_a_request_that_names_no_task(server: Running, given: dict[str, Any]) -> None:
    headers = {"x-nls-token": KEY} | given.pop("headers", {})
    for route in ("status", "result", "cancel", "delete"):
        answer = httpx.post(f"{server.base}{tasks.PATH}/{route}", headers=headers, **given)
        assert refusal(answer)[0] == 400


def test_a_long_name_is_none(server: Running) -> None:
    assert refusal(server.post("status", json={"task_id": "x" * 10_000}))[0] == 413
    assert refusal(server.post("status", json={"task_id": "a b"}))[0] == 404


def test_tasks_of_others_and_of_other_protocols_do_not_exist(server: Running) -> None:
    task_id = server.task()
    for route in ("status", "result", "cancel", "delete"):
        assert refusal(server.post(route, key=OTHER_KEY, json={"task_id": task_id}))[0] == 404
    job: Job = server.jobs.jobs[task_id]
    assert job.state == "queued"
    server.jobs.jobs[task_id] = replace(job, request=replace(job.request, face="jobs"))
    assert refusal(server.post("delete", json={"task_id": task_id}))[0] == 404


def test_the_documentation_has_the_fields_that_are_read() -> None:
    assert task_schema.CREATE_FIELDS.keys() == tasks.TASK_FIELDS
