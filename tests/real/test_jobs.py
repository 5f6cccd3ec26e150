"""Jobs of a server as a user starts it, from the request to the webhook, with a small real model."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from models.small_whisper import make_small_whisper
from protocols.shelf import recording_at

from .server import RealServer, start_server

PATH = "/v1/jobs"
ROUTE = "/v1/audio/transcriptions"
KEY, SECRET = "anna", "a secret of many letters"
ENDED = {"succeeded", "failed", "cancelled"}
SECONDS = 180.0
"""More than anything here takes on a busy machine."""


@pytest.fixture(scope="module")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    small = make_small_whisper(tmp_path_factory.mktemp("models") / "small", models_dir / "whisper-base")
    networks = dict.fromkeys(("WEBHOOK_NETWORKS", "AUDIO_ADDRESS_NETWORKS"), "127.0.0.0/8")
    folder = tmp_path_factory.mktemp("jobs")
    settings = {"ASR_MODEL_DIR_WHISPER_BASE": str(small), "API_KEYS": KEY, "DATA_DIR": str(folder / "data")}
    server = start_server(models_dir, folder, **settings, **networks)
    try:
        server.wait_until_ready()
        yield server
        assert list(server.temp.iterdir()) == []
        assert "Traceback" not in server.log.read_text()
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def client(server: RealServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base, headers={"authorization": f"Bearer {KEY}"}, timeout=SECONDS) as client:
        yield client


@pytest.fixture(scope="module")
def call(phone_call: Path) -> bytes:
    return (phone_call / "sample.wav").read_bytes()


@dataclass
class Hook:
    """A webhook on this machine, and what it was told: headers and bodies."""

    url: str = ""
    told: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextlib.contextmanager
def hook() -> Iterator[Hook]:
    """One that answers everything with 204."""
    made = Hook()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.told.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_port}/hook?token=query-7f3a"
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def signed(headers: dict[str, str], body: bytes) -> bool:
    """Whether it was signed with SECRET just now, as the Standard Webhooks specification says."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.digest(SECRET.encode(), content, hashlib.sha256)).decode()
    just_now = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return just_now and headers["webhook-signature"] == f"v1,{signature}"


def ended(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The job that was answered, once it has ended: what its events say last."""
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    with client.stream("GET", f"{PATH}/{job['id']}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                job = json.loads(line.removeprefix("data: "))
    assert job["state"] in ENDED
    return job


def result(client: httpx.Client, job: dict[str, Any], shape: str) -> httpx.Response:
    return client.get(f"{PATH}/{job['id']}/result", params={"response_format": shape})


def test_a_job_says_what_the_transcription_route_says(client: httpx.Client, call: bytes) -> None:
    fields = {"timestamp_granularities[]": "word"}
    job = ended(client, client.post(PATH, files={"file": ("call.wav", call)}, data=fields))
    assert (job["state"], job["name"], job["model"]) == ("succeeded", "call.wav", "whisper-base")
    progress = job["progress"]
    assert progress["percent"] == 100
    assert progress["seconds_done"] == progress["seconds_total"] == pytest.approx(30, abs=0.1)
    assert progress["pieces_done"] == progress["pieces_total"] > 0
    for shape in ("text", "srt", "verbose_json"):
        direct = client.post(ROUTE, files={"file": call}, data=fields | {"response_format": shape})
        assert result(client, job, shape).text == direct.text
    assert "[Speaker2]" in result(client, job, "srt").text
    assert client.get(f"{PATH}/{job['id']}/partial").json()["text"] == result(client, job, "json").json()["text"]


def test_a_resumable_upload_becomes_a_job(client: httpx.Client, call: bytes) -> None:
    tus = {"tus-resumable": "1.0.0"}
    name = base64.b64encode("电话.wav".encode()).decode()
    about = {"upload-length": str(len(call)), "upload-metadata": f"filename {name}"}
    at = client.post(f"{PATH}/uploads", headers=tus | about).headers["location"]
    half = len(call) // 2
    for offset, part in ((0, call[:half]), (half, call[half:])):
        headers = tus | {"upload-offset": str(offset), "content-type": "application/offset+octet-stream"}
        assert client.patch(at, content=part, headers=headers).status_code == 204
    keyed = {"idempotency-key": "the call"}
    job = ended(client, client.post(PATH, data={"upload": at}, headers=keyed))
    assert (job["state"], job["name"]) == ("succeeded", "电话.wav")
    direct = client.post(ROUTE, files={"file": call}, data={"response_format": "text"})
    assert result(client, job, "text").text == direct.text
    again = client.post(PATH, data={"upload": at}, headers=keyed)
    assert (again.status_code, again.json()["id"]) == (200, job["id"])


def test_a_recording_at_an_address_is_fetched_when_its_turn_comes(client: httpx.Client, call: bytes) -> None:
    with recording_at(call) as shelf:
        job = ended(client, client.post(PATH, data={"audio_address": shelf.url}))
        assert shelf.asked == ["/a.wav"]
        assert (job["state"], job["name"]) == ("succeeded", "a.wav")
        gone = ended(client, client.post(PATH, data={"audio_address": f"{shelf.url}.gone"}))
    assert gone["error"]["code"] == "audio_address_not_fetched"
    assert result(client, gone, "text").status_code == 400


def test_a_webhook_hears_every_state_in_order_and_the_result(client: httpx.Client, call: bytes) -> None:
    with hook() as receiver:
        fields = {"webhook_url": receiver.url, "webhook_secret": SECRET, "webhook_result": "true"}
        job = ended(client, client.post(PATH, files={"file": call}, data=fields | {"response_format": "text"}))
        deadline = time.monotonic() + SECONDS
        while len(receiver.told) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert all(signed(headers, body) for headers, body in receiver.told)
    assert len({headers["webhook-id"] for headers, _ in receiver.told}) == 3
    told = [json.loads(body) for _, body in receiver.told]
    assert [one["type"] for one in told] == ["job.queued", "job.running", "job.succeeded"]
    assert [one["data"]["state"] for one in told] == ["queued", "running", "succeeded"]
    assert {one["data"]["id"] for one in told} == {job["id"]}
    assert told[2]["result"] == result(client, job, "text").text
    assert SECRET not in json.dumps(told)


def test_what_is_no_recording_fails_its_job_as_it_fails_a_request(client: httpx.Client) -> None:
    job = ended(client, client.post(PATH, files={"file": ("a.wav", b"no sound" * 100)}))
    direct = client.post(ROUTE, files={"file": ("a.wav", b"no sound" * 100)})
    answer = result(client, job, "text")
    assert (job["state"], answer.status_code, answer.json()) == ("failed", direct.status_code, direct.json())


def test_nothing_of_a_job_is_in_the_log(server: RealServer, client: httpx.Client, call: bytes) -> None:
    files = {"file": ("a name nobody may read.wav", call)}
    job = ended(client, client.post(PATH, files=files, data={"metadata": '{"note": "a note of mine"}'}))
    said = result(client, job, "text").text.strip()
    assert client.delete(f"{PATH}/{job['id']}").status_code == 200
    log = server.log.read_text()
    assert job["id"] in log
    assert len(said) > 10
    assert not [secret for secret in (said, "a name nobody", "a note of mine", SECRET, "query-7f3a") if secret in log]
