"""Idempotency: the same submission again is the same job, another one under the same key is refused."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from jobs_server import PATH, Room, ask, jobs_served, made, refused, until, uploaded
from openai_server import OTHER_KEY

KEYED = {"idempotency-key": "monday"}


@pytest.fixture(scope="module")
def _room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with jobs_served(tmp_path_factory.mktemp("jobs")) as room:
        yield room


@pytest.fixture
def room(_room: Room) -> Iterator[Room]:
    _room.clear()
    yield _room
    until(lambda: not list(_room.temp.iterdir()))


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
