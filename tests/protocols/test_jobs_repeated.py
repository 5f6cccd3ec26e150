"""Idempotency: the same submission again is the same job, another one under the same key is refused."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import resource
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from jobs_server import PATH, PATIENCE, PLACES, Room, ask, jobs_served, made, refused, until, uploaded
from openai_server import OTHER_KEY, TRANSCRIPTS

from app.service.resumable.holding import WAIT_SECONDS

KEYED = {"idempotency-key": "monday"}


@pytest.fixture(scope="module")
def _room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with jobs_served(tmp_path_factory.mktemp("jobs")) as room:
        yield room


@pytest.fixture
def room(_room: Room) -> Iterator[Room]:
    _room.clear()
    yield _room
    until(lambda: not list(_room.temp.iterdir()) and not list(_room.incoming.iterdir()))


@pytest.fixture
def client(room: Room) -> Iterator[httpx.Client]:
    with room.client() as client:
        yield client


def test_the_same_again_is_the_same_job(room: Room, client: httpx.Client) -> None:
    fields: dict[str, Any] = {"language": "zh", "metadata": {"a": "b"}, "keywords[]": ["甲", "乙"]}
    first = ask(client, headers=KEYED, **fields)
    again = ask(client, headers=KEYED, **fields)
    assert (made(first), again.status_code) == (again.json()["id"], 200)
    assert again.headers["location"] == first.headers["location"]
    by_field = ask(client, idempotency_key="monday", **fields)
    assert (by_field.status_code, by_field.json()["id"]) == (200, made(first))
    assert len(room.jobs()) == 1
    assert room.content(made(first)) == b"zh"


def test_without_a_key_it_is_another_job(room: Room, client: httpx.Client) -> None:
    assert made(ask(client)) != made(ask(client))


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (b"other", {}),
        (b"zh", {"language": "zh"}),
        (b"zh", {"priority": 1}),
        (b"zh", {"metadata": {"a": "b"}}),
        (b"zh", {"webhook_url": "https://example.org"}),
        (b"zh", {"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "0.3"}),
        (None, {"audio_address": "https://example.org/a.wav"}),
    ],
)
def test_something_else_under_the_same_key_is_refused(
    room: Room, client: httpx.Client, content: bytes | None, fields: dict[str, Any]
) -> None:
    first = made(ask(client, headers=KEYED))
    refused(ask(client, content, headers=KEYED, **fields), 422, "idempotency_conflict", "idempotency_key")
    assert [job.id for job in room.jobs()] == [first]


def test_fields_that_nobody_reads_make_no_difference(client: httpx.Client) -> None:
    first = made(ask(client, headers=KEYED))
    assert ask(client, headers=KEYED, timestamp="12345").json()["id"] == first


def test_keys_of_others_are_theirs(room: Room, client: httpx.Client) -> None:
    first = made(ask(client, headers=KEYED))
    with room.client(OTHER_KEY) as other:
        assert made(ask(other, b"other", headers=KEYED)) != first


def test_a_key_goes_with_its_job(client: httpx.Client) -> None:
    first = made(ask(client, headers=KEYED))
    assert client.delete(f"{PATH}/{first}").status_code == 200
    assert made(ask(client, b"other", headers=KEYED)) != first


def test_a_key_that_is_none_is_refused(client: httpx.Client) -> None:
    refused(ask(client, headers={"idempotency-key": "a" * 256}), 400, "invalid_value", "idempotency_key")
    answer = ask(client, headers=KEYED, idempotency_key="tuesday")
    refused(answer, 400, "invalid_value", "idempotency_key")


def test_json_again_is_the_same_job(client: httpx.Client) -> None:
    body = {"input_audio": {"data": base64.b64encode(b"sound").decode()}, "metadata": {"b": "1", "a": "2"}}
    first, again = (client.post(PATH, json=body, headers=KEYED) for _ in range(2))
    assert (made(first), again.status_code) == (again.json()["id"], 200)


def test_an_address_again_is_the_same_job(client: httpx.Client) -> None:
    fields = {"audio_address": "https://example.org/a.wav?sign=1"}
    first, again = (ask(client, None, headers=KEYED, **fields) for _ in range(2))
    assert (made(first), again.status_code) == (again.json()["id"], 200)


def test_many_at_once_are_one_job(room: Room, client: httpx.Client) -> None:
    def submit(_: int) -> httpx.Response:
        with room.client() as one:
            return ask(one, headers=KEYED)

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(submit, range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [202]
    assert len({answer.json()["id"] for answer in answers}) == len(room.jobs()) == 1


def test_an_upload_again_is_the_same_job_though_its_bytes_are_gone(room: Room, client: httpx.Client) -> None:
    upload = uploaded(room, b"long sound")
    first = made(ask(client, None, headers=KEYED, upload=upload))
    again = ask(client, None, headers=KEYED, upload=f"{PATH}/uploads/{upload}")
    assert (again.status_code, again.json()["id"]) == (200, first)
    other = uploaded(room, b"long sound")
    refused(ask(client, None, headers=KEYED, upload=other), 422, "idempotency_conflict", "idempotency_key")
    assert made(ask(client, None, upload=other)) != first


def test_an_upload_that_is_sent_twice_at_once_is_one_job(room: Room, client: httpx.Client) -> None:
    upload = uploaded(room, b"long sound")

    def submit(_: int) -> httpx.Response:
        with room.client() as one:
            return ask(one, None, headers=KEYED, upload=upload)

    with ThreadPoolExecutor(PLACES) as pool:
        with held(room, upload) as knock:
            sent = [pool.submit(submit, number) for number in range(PLACES)]
            until(lambda: room.handing_over.active == PLACES and knock.exists())
        answers = [one.result() for one in sent]
    assert sorted(answer.status_code for answer in answers) == [200] * (PLACES - 1) + [202]
    assert len({answer.json()["id"] for answer in answers}) == len(room.jobs()) == 1


@contextlib.contextmanager
def held(room: Room, upload: str) -> Iterator[Path]:
    """While somebody else is at an upload; yields what appears when it is wanted."""
    path = next((room.incoming.parent / "uploads").glob(f"*/{upload}"))
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path.with_name(f"{upload}.knock")


def test_an_upload_that_somebody_else_is_at_is_not_waited_for_for_ever(room: Room, client: httpx.Client) -> None:
    upload = uploaded(room, b"long sound")
    room.service.uploads._wait = 0.2
    try:
        with held(room, upload):
            refused(ask(client, None, headers=KEYED, upload=upload), 409, "upload_locked", "upload")
    finally:
        room.service.uploads._wait = WAIT_SECONDS
    refused(ask(client, None, headers=KEYED, upload=f"upload_{'0' * 24}"), 404, "upload_not_found", "upload")
    made(ask(client, None, headers=KEYED, upload=upload))


@pytest.mark.parametrize("step", ["hashlib.file_digest", "os.link"])
def test_answers_do_not_wait_for_recordings_that_are_handed_over(
    room: Room, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """However many: more than asyncio has threads."""
    many = min(32, (os.cpu_count() or 1) + 4) + 2
    done = made(ask(client))
    room.succeed(room.lease(), TRANSCRIPTS["zh"])
    going_on = threading.Event()
    work, entered = {"hashlib.file_digest": hashlib.file_digest, "os.link": os.link}[step], []

    def slow(*given: Any) -> Any:
        entered.append(given)
        going_on.wait(PATIENCE)
        return work(*given)  # type: ignore[operator]

    def submit(number: int) -> httpx.Response:
        with room.client() as one:
            return ask(one, headers={"idempotency-key": str(number)})

    monkeypatch.setattr(step, slow)
    for bound in ("_max_requests", "_max_of_a_key"):
        monkeypatch.setattr(room.handing_over, bound, many)
    with ThreadPoolExecutor(many) as pool:
        sent = [pool.submit(submit, number) for number in range(many)]
        try:
            until(lambda: room.handing_over.active == many and len(entered) > 1)
            assert client.get(f"{PATH}/{done}/result", timeout=20).status_code == 200
        finally:
            going_on.set()
        assert {one.result().status_code for one in sent} <= {202, 429}


def test_a_recording_in_a_form_is_moved_to_its_place(
    room: Room, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, moved = os.link, []

    def seen(source: Path, target: Path) -> None:
        moved.append((source, source.stat(), source.parent.stat()))
        link(source, target)

    monkeypatch.setattr("os.link", seen)
    job = made(ask(client))
    [(source, file, folder)] = moved
    assert (source.parent, stat.S_IMODE(file.st_mode), stat.S_IMODE(folder.st_mode)) == (room.incoming, 0o600, 0o700)
    assert (room.incoming.parent / job).stat().st_ino == file.st_ino
    assert not source.exists()


def test_a_form_that_the_disk_of_jobs_does_not_take_is_told(
    room: Room, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        refused(ask(client, bytes(300_000)), 507, "storage_full", None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "JOBS_DIR takes nothing" in caplog.text
    assert "TEMP_DIR" not in caplog.text
    made(ask(client))
