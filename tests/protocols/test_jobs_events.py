"""A job followed over a real connection, as an EventSource does it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from jobs_server import PATH, PATIENCE, Room, ask, jobs_served, made, refused, until
from openai_server import OTHER_KEY, TRANSCRIPTS

from app.domain.errors import JobsUnavailable, Overloaded
from app.protocols.jobs import events
from app.service.jobs.job import Failure, Progress
from app.service.lifecycle import Phase


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    (tmp_path / "temp").mkdir()
    with jobs_served(tmp_path / "temp") as room:
        yield room


@pytest.fixture
def client(room: Room) -> Iterator[httpx.Client]:
    with room.client() as client:
        yield client


@dataclass
class Listener:
    """Whoever follows a job: its events as they come, field by field."""

    room: Room
    job: str
    last: str | None = None
    events: list[dict[str, str]] = field(default_factory=list)
    comments: int = 0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    leaving: bool = False
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()

    def _listen(self) -> None:
        headers = {} if self.last is None else {"last-event-id": self.last}
        with self.room.client() as client, client.stream("GET", f"{PATH}/{self.job}/events", headers=headers) as answer:
            self.status, self.headers = answer.status_code, dict(answer.headers)
            event: dict[str, str] = {}
            for line in answer.iter_lines():
                if self.leaving:
                    return
                if not line and event:
                    self.events.append(event)
                    event = {}
                elif line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    event[name] = value

    @property
    def jobs(self) -> list[dict[str, Any]]:
        return [json.loads(event["data"]) for event in self.events if event.get("event") == "job"]

    def wait(self, count: int) -> None:
        until(lambda: len(self.events) >= count)

    def end(self) -> None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def test_a_job_is_followed_to_its_end(room: Room, client: httpx.Client) -> None:
    job = made(ask(client))
    listener = Listener(room, job)
    listener.wait(1)
    lease = room.lease()
    listener.wait(2)
    room.keep(lease, 0, "今天", Progress("recognise", 600.0, 150.0, 8, 2, 0.25))
    until(lambda: listener.jobs[-1]["progress"]["percent"] == 25.0)
    room.succeed(lease, TRANSCRIPTS["zh"])
    listener.end()
    assert [one["state"] for one in listener.jobs][:2] == ["queued", "running"]
    assert listener.jobs[-1] == client.get(f"{PATH}/{job}").json()
    assert listener.jobs[-1]["state"] == "succeeded"
    numbers = [int(event["id"]) for event in listener.events]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all("今天" not in event["data"] for event in listener.events)
    assert (listener.events[0]["retry"], listener.events[-1]["retry"]) == ("2000", "86400000")


def test_events_are_not_held_back_on_their_way(room: Room, client: httpx.Client) -> None:
    job = made(ask(client))
    client.post(f"{PATH}/{job}/cancel")
    listener = Listener(room, job)
    listener.end()
    assert listener.headers["content-type"].startswith("text/event-stream")
    assert (listener.headers["x-accel-buffering"], listener.headers["cache-control"]) == ("no", "no-store")
    assert "content-length" not in listener.headers


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_a_bad_end_is_told_as_well(room: Room, client: httpx.Client, ending: str) -> None:
    job = made(ask(client))
    lease = room.lease()
    listener = Listener(room, job)
    listener.wait(1)
    if ending == "failed":
        room.fail(lease, Failure("UndecodableAudio", "audio_undecodable", "Not audio.", "file"))
    else:
        client.post(f"{PATH}/{job}/cancel")
    listener.end()
    assert listener.jobs[-1]["state"] == ending
    assert (listener.jobs[-1]["error"] is not None) == (ending == "failed")


@pytest.mark.parametrize(("last", "number"), [(None, 1), ("7", 8), ("", 1), ("x", 1), ("-3", 1), ("9" * 30, 1)])
def test_who_comes_back_is_told_at_once_and_counted_on(
    room: Room, client: httpx.Client, last: str | None, number: int
) -> None:
    job = made(ask(client))
    client.post(f"{PATH}/{job}/cancel")
    listener = Listener(room, job, last)
    listener.end()
    (event,) = listener.events
    assert (event["id"], event["event"], event["retry"]) == (str(number), "job", "86400000")
    assert listener.jobs[0]["state"] == "cancelled"


def test_a_job_that_is_deleted_meanwhile_ends_its_events(room: Room, client: httpx.Client) -> None:
    job = made(ask(client))
    listener = Listener(room, job)
    listener.wait(1)
    client.delete(f"{PATH}/{job}")
    listener.end()
    assert json.loads(listener.events[-1]["data"])["error"]["code"] == "job_not_found"
    assert listener.events[-1]["retry"] == "86400000"


def test_a_server_that_ends_does_not_wait_for_jobs(room: Room, client: httpx.Client) -> None:
    job = made(ask(client))
    listener = Listener(room, job)
    listener.wait(1)
    room.lifecycle.go_on_to(Phase.DRAINING)
    assert client.get(f"{PATH}/{job}").status_code == 200
    assert listener.thread.is_alive()
    room.lifecycle.go_on_to(Phase.CLOSED)
    listener.end()
    assert [one["state"] for one in listener.jobs] == ["queued"]
    assert listener.events[-1]["retry"] == "2000", "it is to ask again soon"


def test_while_nothing_happens_the_connection_is_kept_alive(
    room: Room, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert events.KEEP_ALIVE_SECONDS == 15
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.05)
    job = made(ask(client))
    listener = Listener(room, job)
    until(lambda: listener.comments >= 3)
    client.post(f"{PATH}/{job}/cancel")
    listener.end()
    assert [one["state"] for one in listener.jobs] == ["queued", "cancelled"]


def test_who_leaves_is_noticed_and_his_job_goes_on(
    room: Room, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.05)
    job = made(ask(client))
    listener = Listener(room, job)
    listener.wait(1)
    changes = room.service.jobs._changes
    assert job in changes._waiting
    listener.leaving = True
    listener.end()
    until(lambda: job not in changes._waiting)
    assert room.job(job).state == "queued"


def test_one_key_follows_so_many_jobs_at_once(
    room: Room, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_FOLLOWERS", 2)
    job = made(ask(client))
    with ExitStack() as stack:
        for _ in range(2):
            assert stack.enter_context(client.stream("GET", f"{PATH}/{job}/events")).status_code == 200
        refused(client.get(f"{PATH}/{job}/events"), 429, "rate_limit_exceeded", None)
        with room.client(OTHER_KEY) as other:
            refused(other.get(f"{PATH}/{job}/events"), 404, "job_not_found", None)
            theirs = made(ask(other))
            with other.stream("GET", f"{PATH}/{theirs}/events") as answer:
                assert answer.status_code == 200
    client.post(f"{PATH}/{job}/cancel")

    def again() -> bool:
        return client.get(f"{PATH}/{job}/events").status_code == 200

    until(again)


def test_places_of_who_left_are_free_again() -> None:
    followers = events.Followers()
    with followers.place("a"), followers.place("a"):
        assert followers._inside == {"a": 2}
    assert followers._inside == {}
    with ExitStack() as stack, pytest.raises(Overloaded):
        for _ in range(events.MOST_FOLLOWERS + 1):
            stack.enter_context(followers.place("a"))


@pytest.mark.parametrize(
    ("failure", "code"),
    [(JobsUnavailable("The database is away."), "jobs_unavailable"), (ZeroDivisionError("/secret"), "server_error")],
)
def test_what_goes_wrong_is_the_last_event_and_worth_asking_again(
    room: Room, client: httpx.Client, failure: Exception, code: str
) -> None:
    job = made(ask(client))
    listener = Listener(room, job)
    listener.wait(1)

    async def broken(*_: object) -> None:
        raise failure

    room.store.get = broken  # type: ignore[method-assign,assignment]
    listener.end()
    last = listener.events[-1]
    assert json.loads(last["data"])["error"]["code"] == code
    assert "retry" not in last
    assert "secret" not in last["data"]
    del room.store.get
    assert client.get(f"{PATH}/{job}").json()["state"] == "queued"
