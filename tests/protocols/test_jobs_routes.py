"""Jobs shown, listed, cancelled and deleted: each by its owner only."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from jobs_server import PATH, PATIENCE, PLACES, Room, ask, jobs_served, made, refused, until
from openai_server import OTHER_KEY, TRANSCRIPTS

from app.service.jobs.job import Failure, Plan, Progress

PROGRESS = Progress("recognise", duration=600.0, done=150.0, pieces=8, pieces_done=2, share=0.25)


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


@pytest.fixture
def job(client: httpx.Client) -> str:
    return made(ask(client))


def test_a_job_at_work_tells_how_far_it_is(room: Room, client: httpx.Client, job: str) -> None:
    lease = room.lease()
    asyncio.run(room.store.keep_plan(lease, 0, Plan((), (), 600.0)))
    room.keep(lease, 0, "今天", PROGRESS)
    shown = client.get(f"{PATH}/{job}").json()
    assert (shown["state"], shown["attempts"], shown["ended_at"], shown["expires_at"]) == ("running", 1, None, None)
    assert abs(shown["started_at"] - time.time()) < 60
    left = shown["progress"].pop("seconds_left")
    assert left is None or left >= 0
    assert shown["progress"] == {
        "percent": 25.0,
        "seconds_done": 150.0,
        "seconds_total": 600.0,
        "pieces_done": 2,
        "pieces_total": 8,
        "step": "recognise",
    }


def test_a_job_that_waits_for_something_says_so(room: Room, client: httpx.Client, job: str) -> None:
    asyncio.run(room.store.put_back(room.lease(), 60, "the disk is full"))
    shown = client.get(f"{PATH}/{job}").json()
    assert (shown["state"], shown["waits_for"]) == ("queued", "the disk is full")


def test_a_job_that_is_done_is_at_a_hundred_percent(room: Room, client: httpx.Client, job: str) -> None:
    lease = room.lease()
    room.keep(lease, 0, "今天", PROGRESS)
    room.succeed(lease, TRANSCRIPTS["zh"])
    shown = client.get(f"{PATH}/{job}").json()
    assert shown["state"] == "succeeded"
    assert shown["expires_at"] > shown["ended_at"] >= shown["started_at"] >= shown["created_at"]
    progress = shown["progress"]
    assert (progress["percent"], progress["seconds_left"], progress["step"]) == (100.0, None, None)
    assert (progress["seconds_done"], progress["seconds_total"]) == (600.0, 600.0)


def test_a_job_that_failed_says_why(room: Room, client: httpx.Client, job: str) -> None:
    room.fail(room.lease(), Failure("UndecodableAudio", "audio_undecodable", "Not audio.", "file"))
    shown = client.get(f"{PATH}/{job}").json()
    assert shown["state"] == "failed"
    assert shown["error"] == {"code": "audio_undecodable", "message": "Not audio.", "param": "file"}
    assert shown["progress"]["percent"] < 100


def test_a_job_that_is_cancelled_ends_at_once(room: Room, client: httpx.Client, job: str) -> None:
    lease = room.lease()
    answer = client.post(f"{PATH}/{job}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert asyncio.run(room.store.renew(lease, PROGRESS)) is None
    assert room.content(job) is None
    assert client.post(f"{PATH}/{job}/cancel").json() == answer.json()


def test_a_job_that_has_ended_is_not_cancelled(room: Room, client: httpx.Client, job: str) -> None:
    room.succeed(room.lease(), TRANSCRIPTS["zh"])
    assert client.post(f"{PATH}/{job}/cancel").json()["state"] == "succeeded"


def test_a_job_is_deleted_with_its_recording(room: Room, client: httpx.Client, job: str) -> None:
    assert room.content(job) == b"zh"
    answer = client.delete(f"{PATH}/{job}")
    assert (answer.status_code, answer.json()) == (200, {"id": job, "object": "job", "deleted": True})
    assert room.content(job) is None
    refused(client.get(f"{PATH}/{job}"), 404, "job_not_found", None)
    refused(client.delete(f"{PATH}/{job}"), 404, "job_not_found", None)
    assert client.get(PATH).json()["data"] == []


def test_jobs_are_listed_newest_first_page_by_page(room: Room, client: httpx.Client) -> None:
    jobs = [made(ask(client)) for _ in range(5)][::-1]
    whole = client.get(PATH).json()
    assert [job["id"] for job in whole["data"]] == jobs
    assert (whole["object"], whole["has_more"], whole["first_id"], whole["last_id"]) == (
        "list",
        False,
        jobs[0],
        jobs[4],
    )
    first = client.get(PATH, params={"limit": 2}).json()
    assert ([job["id"] for job in first["data"]], first["has_more"]) == (jobs[:2], True)
    second = client.get(PATH, params={"limit": 3, "after": first["last_id"]}).json()
    assert ([job["id"] for job in second["data"]], second["has_more"]) == (jobs[2:], False)
    last = client.get(PATH, params={"after": jobs[4]}).json()
    assert last == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


def test_jobs_are_listed_by_their_states(room: Room, client: httpx.Client) -> None:
    succeeded, running, queued = (made(ask(client)) for _ in range(3))
    room.succeed(room.lease(), TRANSCRIPTS["zh"])
    room.lease()

    def listed(*states: str) -> list[str]:
        answer = client.get(PATH, params={"state": list(states)})
        return [job["id"] for job in answer.json()["data"]]

    assert listed("succeeded") == [succeeded]
    assert listed("queued", "running") == [queued, running]
    assert listed("cancelled") == []


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("state=done", "state.0")],
)
def test_a_list_that_makes_no_sense_is_refused(client: httpx.Client, query: str, param: str) -> None:
    refused(client.get(f"{PATH}?{query}"), 400, "invalid_value", param)


def test_a_list_after_a_job_that_is_not_there_is_refused(client: httpx.Client) -> None:
    for after in ("job_0", "a%00b", "a" * 200):
        assert client.get(f"{PATH}?after={after}").status_code == 404


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/result"),
        ("GET", "/partial"),
        ("GET", "/events"),
        ("POST", "/cancel"),
    ],
)
def test_jobs_of_others_are_not_there(room: Room, job: str, method: str, rest: str) -> None:
    with room.client(OTHER_KEY) as other:
        for one in (job, "job_0", "a%00b", "a" * 200):
            refused(other.request(method, f"{PATH}/{one}{rest}"), 404, "job_not_found", None)
        assert other.get(PATH).json()["data"] == []
        assert other.get(PATH, params={"after": job}).status_code == 404
    with httpx.Client(base_url=room.base) as stranger:
        refused(stranger.request(method, f"{PATH}/{job}{rest}"), 401, "invalid_api_key", None)
    assert room.job(job).state == "queued"


def test_who_hands_over_too_many_at_once_is_refused_before_his_body_is_read(room: Room, client: httpx.Client) -> None:
    leave = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
        leave.wait(PATIENCE)
        yield b"zh\r\n--b--\r\n"

    def hand_over(statuses: list[int]) -> None:
        with room.client() as one:
            headers = {"content-type": "multipart/form-data; boundary=b"}
            statuses.append(one.post(PATH, content=slowly(), headers=headers).status_code)

    statuses: list[int] = []
    threads = [threading.Thread(target=hand_over, args=(statuses,)) for _ in range(PLACES)]
    for thread in threads:
        thread.start()
    until(lambda: room.handing_over.active == PLACES)
    refused(ask(client), 429, "rate_limit_exceeded", None)
    assert room.service._admission.active == 0, "it takes nobody else's place"
    leave.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert statuses == [202] * PLACES


def test_a_database_that_cannot_be_used_is_told_and_mended(tmp_path: pytest.TempPathFactory) -> None:
    temp = tmp_path / "temp"
    temp.mkdir()
    with jobs_served(temp) as room, room.client() as client:
        data = room.service.settings.data_dir
        data.write_text("a file where a folder should be")
        for answer in (client.get(PATH), ask(client), client.get(f"{PATH}/job_0/events")):
            refused(answer, 503, "jobs_unavailable", None)
        data.unlink()
        shutil.rmtree(data, ignore_errors=True)
        made(ask(client))
        assert len(client.get(PATH).json()["data"]) == 1
