"""Errors of nginx's own have the shape of the protocol that was asked."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.protocols.aliyun.filetrans import errors as filetrans
from app.protocols.faults import Fault
from app.protocols.oddasr.rest import errors as oddasr

from .proxy import Nginx, refused, running

MEBIBYTE = 1024 * 1024
TOO_LARGE = 9000 * MEBIBYTE
"""For jobs, too."""


@pytest.fixture(scope="module")
def strict(echo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """One that lets hardly anything through."""
    limits = {"NGINX_RATE_LIMIT_RPS": "1", "NGINX_RATE_LIMIT_BURST": "2", "MAX_AUDIO_SIZE": "1MB"}
    with running(tmp_path_factory.mktemp("nginx"), [echo], **limits) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """One whose servers are all gone."""
    with running(tmp_path_factory.mktemp("nginx"), ["127.0.0.1:1", "127.0.0.2:1"]) as nginx:
        yield nginx


def told(body: dict[str, Any], path: str) -> str:
    """The message, wherever that protocol has it."""
    if path.startswith("/stream"):
        assert set(body) == {"error_code", "message", "task_id", "timestamp", "details", "status", "result"}
        return str(body["message"])
    if path.startswith("/v1/audio"):
        assert set(body["error"]) == {"message", "type", "param", "code"}
        return str(body["error"]["message"])
    shapes: dict[str, str] = {
        "/": "Message",
        "/filetrans": "Message",
        "/api/v1/services/audio/asr/transcription": "message",
        "/api/v1/tasks/job_1": "message",
        "/v1/asr": "error",
        "/v1/asr/hotwords": "error_desc",
        "/v1/asr/task/create": "error_desc",
        "/api/v1/asr/vocabs": "error_message",
        "/asr": "detail",
        "/recognition": "msg",
    }
    return str(body[shapes[path]])


PATHS = [
    "/v1/audio/transcriptions",
    "/stream/v1/asr",
    "/",
    "/filetrans",
    "/api/v1/services/audio/asr/transcription",
    "/api/v1/tasks/job_1",
    "/v1/asr",
    "/v1/asr/hotwords",
    "/v1/asr/task/create",
    "/api/v1/asr/vocabs",
    "/asr",
    "/recognition",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_server_is_there(alone: Nginx, path: str) -> None:
    answer = httpx.post(f"{alone.base}{path}", content=b"sound", headers={"x-request-id": "mine"})
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["x-request-id"] == "mine"
    assert "cannot be reached" in told(answer.json(), path)


@pytest.mark.parametrize("path", PATHS)
def test_an_upload_is_too_large(alone: Nginx, path: str) -> None:
    status, body = answer_to(alone, f"POST {path} HTTP/1.1", f"content-length: {TOO_LARGE}")
    assert status == 413
    assert "larger than" in told(body, path)


@pytest.mark.parametrize("at", [*filetrans.FACES, *oddasr.FACES])
@pytest.mark.parametrize("below", ["", "/there"])
def test_they_look_like_the_server_s_own(alone: Nginx, at: str, below: str) -> None:
    path = f"{at}{below}" if at != filetrans.ROOT else at
    face = (filetrans.FACES | oddasr.FACES)[at]
    answer = httpx.get(f"{alone.base}{path}")
    drawn = face(Fault("Why.", 502), {"type": "http", "state": {"request_id": "-"}})
    own = json.loads(bytes(drawn.body))
    assert answer.json().keys() == own.keys()
    assert answer.json().get("data") == own.get("data")


@pytest.mark.parametrize(
    ("path", "unreachable", "too_large", "too_many"),
    [
        ("/filetrans", "ServiceUnavailable", "InvalidParameter", "Throttling.User"),
        ("/api/v1/tasks/job_1", "InternalError", "InvalidParameter", "Throttling.RateQuota"),
    ],
)
def test_they_are_called_what_the_server_calls_its_own(
    alone: Nginx, strict: Nginx, path: str, unreachable: str, too_large: str, too_many: str
) -> None:
    name = "Code" if path == filetrans.PATH else "code"
    assert httpx.get(f"{alone.base}{path}").json()[name] == unreachable
    assert answer_to(alone, f"POST {path} HTTP/1.1", f"content-length: {TOO_LARGE}")[1][name] == too_large
    assert refused(f"{strict.base}{path}").json()[name] == too_many


def test_an_upload_of_unknown_length_is_counted(strict: Nginx) -> None:
    def zeros() -> Iterator[bytes]:
        for _ in range(8):
            yield bytes(MEBIBYTE)

    answer = httpx.post(f"{strict.base}/health/upload", content=zeros())
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "upload_too_large"
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("path", "code"), [("/v1/audio/transcriptions", "rate_limit_exceeded"), ("/stream/v1/asr", 40000005)]
)
def test_too_many_requests(strict: Nginx, path: str, code: str | int) -> None:
    answer = refused(f"{strict.base}{path}")
    body = answer.json()
    assert (body["error"]["code"] if "error" in body else body["status"]) == code
    assert answer.headers["retry-after"] == "1"
    assert "Too many requests" in told(body, path)


def test_health_and_the_page_are_not_counted(strict: Nginx) -> None:
    with httpx.Client() as http:
        for path in ("/health", "/health/ready", "/web/page.js", "/favicon.ico"):
            assert {http.get(f"{strict.base}{path}").status_code for _ in range(20)} == {200}


def test_headers_are_too_large(alone: Nginx) -> None:
    answer = httpx.get(f"{alone.base}/v1/models", headers={"x-large": "a" * 40_000})
    assert answer.status_code == 431
    assert answer.json()["error"]["message"] == "The headers are too large."


def test_a_request_that_is_none(alone: Nginx) -> None:
    status, body = answer_to(alone, "GET /v1/models HTTP/1.1", "content-length: many")
    assert status == 400
    assert body["error"]["message"] == "The request cannot be read."


def answer_to(nginx: Nginx, *lines: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to a request's head alone."""
    host, port = nginx.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 20) as client:
        client.sendall("\r\n".join([*lines, "host: x", "connection: close", "", ""]).encode())
        with client.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            length = 0
            while line := answer.readline().strip().lower():
                length = int(line.partition(b":")[2]) if line.startswith(b"content-length:") else length
            # No more: nginx keeps the connection a while for what it does not want to read.
            return status, json.loads(answer.read(length))
