"""Jobs behind nginx: recordings larger than other uploads may be, parts as they come, and events one by one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .proxy import Nginx, configure, running

MEBIBYTE = 1024 * 1024
PATHS = ("/v1/jobs", "/openai/v1/jobs", "/v1/jobs/uploads", "/v1/jobs/uploads/upload_1", "/v1/asr/task/create")


@pytest.fixture(scope="module")
def small(echo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    sizes = {"MAX_AUDIO_SIZE": "1MB", "MAX_JOB_AUDIO_SIZE": "9MB"}
    with running(tmp_path_factory.mktemp("nginx"), [echo], **sizes) as nginx:
        yield nginx


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_job_s_recording_may_be_larger(small: Nginx, path: str, method: str) -> None:
    answer = httpx.request(method, f"{small.base}{path}", content=bytes(9 * MEBIBYTE))
    assert answer.status_code == 200
    assert answer.json()["bytes"] == 9 * MEBIBYTE
    assert small.buffered() == []


@pytest.mark.parametrize(
    ("path", "size", "setting"),
    [
        ("/v1/jobs", 12, "MAX_JOB_AUDIO_SIZE"),
        ("/v1/jobs/uploads/upload_1", 12, "MAX_JOB_AUDIO_SIZE"),
        ("/v1/asr/task/create", 12, "MAX_JOB_AUDIO_SIZE"),
        ("/v1/asr", 4, "MAX_AUDIO_SIZE"),
        ("/v1/asr/tasks", 4, "MAX_AUDIO_SIZE"),
        ("/v1/audio/transcriptions", 4, "MAX_AUDIO_SIZE"),
        ("/v1/jobsession", 4, "MAX_AUDIO_SIZE"),
    ],
)
def test_what_is_too_large_is_told_by_its_setting(small: Nginx, path: str, size: int, setting: str) -> None:
    answer = httpx.post(f"{small.base}{path}", content=bytes(size * MEBIBYTE))
    assert answer.status_code == 413
    assert f'"The upload is larger than this server takes ({setting})."' in answer.text


def test_a_part_that_breaks_off_has_arrived_as_far_as_it_was_sent(small: Nginx) -> None:
    """Nothing waits for its end: what is sent reaches the server, which begins its answer before there is more."""
    host, port = small.base.removeprefix("http://").split(":")
    head = f"PATCH /v1/jobs/job_1/events HTTP/1.1\r\nhost: {host}\r\ncontent-length: {8 * MEBIBYTE}\r\n\r\n"
    with socket.create_connection((host, int(port)), 30) as client:
        client.sendall(head.encode() + bytes(MEBIBYTE))
        for _ in range(3):
            assert httpx.get(f"{small.base}/step").text == "done"
        answer = b""
        while answer.count(b"data: step") < 3:
            answer += (got := client.recv(65_536))
            assert got, "it has ended"
        assert answer.startswith(b"HTTP/1.1 200")


def test_events_of_a_job_arrive_one_by_one(before_echo: Nginx) -> None:
    address = f"{before_echo.base}/v1/jobs/job_1/events"
    with httpx.stream("GET", address, headers={"accept-encoding": "gzip"}, timeout=30) as answer:
        events = answer.iter_raw()
        for _ in range(3):
            assert httpx.get(f"{before_echo.base}/step").text == "done"
            assert next(events) == b"data: step\n\n"


def test_the_server_s_own_answer_comes_first(tmp_path: Path) -> None:
    environment = configure(tmp_path, MAX_JOB_AUDIO_SIZE="8GB")
    assert int(environment["SPEECH_JOB_BODY_BYTES"]) == 8 * 1024 * MEBIBYTE + 2 * MEBIBYTE
