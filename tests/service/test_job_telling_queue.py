"""How notices are taken and sent: several at once, by several servers, whatever becomes of the database meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from pathlib import Path

import pytest
from webhook_receivers import SECRET, STATES, Office, Receiver, in_office, until

from app.audio.fetching.posting import POST_SECONDS
from app.domain.errors import JobsUnavailable
from app.service.jobs import telling
from app.service.jobs.job import Notice
from app.service.jobs.sending import DRAW_SECONDS
from app.service.jobs.telling import MOST_OF_A_HOST, MOST_OF_AN_OWNER


def test_a_slow_receiver_holds_nobody_else_up(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        may_end = threading.Event()

        def linger(_: Receiver) -> int:
            assert may_end.wait(100)
            return 200

        with Receiver(linger) as slow, Receiver(host="127.0.0.2") as quick:
            for number in range(20):
                await office.job(slow.url, owner=f"owner-{number}")
            async with office.telling():
                await until(lambda: slow.at_once == MOST_OF_A_HOST)
                await office.job(quick.url)
                await until(lambda: quick.states == ["queued"])
                assert slow.heard == []
                may_end.set()
                await until(lambda: len(slow.states) == 20)
            assert slow.most_at_once == MOST_OF_A_HOST
            assert len({one.id for one in slow.heard}) == len(slow.heard) == 20

    in_office(tmp_path, scenario)


def test_more_for_one_receiver_than_is_held_hides_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_MOST_HELD_OF_A_HOST", 5)
    monkeypatch.setattr(telling, "_MOST_HELD", 8)

    async def scenario(office: Office) -> None:
        may_end = threading.Event()

        def linger(_: Receiver) -> int:
            assert may_end.wait(100)
            return 200

        with Receiver(linger) as slow, Receiver(host="127.0.0.2") as quick:
            for number in range(20):
                await office.job(slow.url, owner=f"owner-{number}")
            await office.job(quick.url)
            async with office.telling():
                await until(lambda: quick.states == ["queued"])
                assert slow.heard == []
                may_end.set()
                while len(slow.states) < 20:
                    office.clock.ahead += 10.0  # what was let lie is due again when its time is over
                    await asyncio.sleep(0.02)
            assert len(slow.heard) == 20

    in_office(tmp_path, scenario)


def hosts(receiver: Receiver, count: int) -> list[str]:
    """As many hosts, which are all this receiver: it listens at every address."""
    return [f"http://127.0.1.{number}:{receiver.port}/hook" for number in range(1, count + 1)]


def taken(office: Office, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The owners of what is taken, in that order."""
    owners: list[str] = []
    due = office.store.due

    async def look(sender: str, seconds: float, passing_over: Collection[str] = ()) -> Notice | None:
        notice = await due(sender, seconds, passing_over)
        if notice is not None:
            owners.append(notice.job.owner)
        return notice

    monkeypatch.setattr(office.store, "due", look)
    return owners


def test_many_receivers_are_told_at_once_and_not_too_many(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        together = threading.Barrier(telling.MOST_SENT)

        def meet(_: Receiver) -> int:
            together.wait(100)
            return 200

        with Receiver(meet, host="0.0.0.0") as receiver:
            for number, url in enumerate(hosts(receiver, 2 * telling.MOST_SENT)):
                await office.job(url, owner=f"owner-{number % 2}")
            async with office.telling():
                await until(lambda: len(receiver.states) == 2 * telling.MOST_SENT)
            assert receiver.most_at_once == telling.MOST_SENT

    in_office(tmp_path, scenario)


def test_an_owner_of_many_slow_receivers_holds_nobody_else_up(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        may_end = threading.Event()

        def linger(_: Receiver) -> int:
            assert may_end.wait(100)
            return 200

        with Receiver(linger, host="0.0.0.0") as slow, Receiver(host="127.0.0.2") as quick:
            for url in hosts(slow, 40):
                await office.job(url, owner="slow")
            async with office.telling():
                await until(lambda: slow.at_once == MOST_OF_AN_OWNER)
                await office.job(quick.url, owner="quick")
                await until(lambda: quick.states == ["queued"])
                assert slow.heard == []
                may_end.set()
                await until(lambda: len(slow.states) == 40)
            assert slow.most_at_once == MOST_OF_AN_OWNER

    in_office(tmp_path, scenario)


@pytest.mark.parametrize("others", [["slow"], ["slow-1", "slow-2"]], ids=["of one owner", "in all"])
def test_more_than_is_held_hides_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: list[str]
) -> None:
    monkeypatch.setattr(telling, "_MOST_HELD_OF_AN_OWNER", 5)
    monkeypatch.setattr(telling, "_MOST_HELD", 8)

    async def scenario(office: Office) -> None:
        may_end = threading.Event()

        def linger(_: Receiver) -> int:
            assert may_end.wait(100)
            return 200

        owners = taken(office, monkeypatch)
        with Receiver(linger, host="0.0.0.0") as slow, Receiver(host="127.0.0.2") as quick:
            for url in hosts(slow, 15):
                for owner in others:
                    await office.job(url, owner=owner)
            await office.job(quick.url, owner="quick")
            async with office.telling():
                await until(lambda: quick.states == ["queued"])
                assert slow.heard == []
                assert len(owners) == (6 if len(others) == 1 else 9), "what is not held is not taken"
                may_end.set()
                await until(lambda: len(slow.states) == 15 * len(others))  # at once: nothing was let lie
            assert len(slow.heard) == 15 * len(others)

    in_office(tmp_path, scenario)


def test_an_owner_of_whom_many_are_let_lie_comes_after_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_MOST_HELD_OF_AN_OWNER_FOR_A_HOST", 2)
    monkeypatch.setattr(telling, "_MANY_LET_LIE", 3)

    async def scenario(office: Office) -> None:
        may_end = threading.Event()

        def linger(_: Receiver) -> int:
            assert may_end.wait(100)
            return 200

        owners = taken(office, monkeypatch)
        with Receiver(linger) as slow, Receiver(host="127.0.0.2") as quick, Receiver(host="127.0.0.3") as other:
            for _ in range(30):
                await office.job(slow.url, owner="slow")
            await office.job(quick.url, owner="quick")
            await office.job(other.url, owner="slow")
            async with office.telling():
                await until(lambda: quick.states == ["queued"])
                assert owners.index("quick") == 5
                await until(lambda: other.states == ["queued"])  # who has many let lie is told elsewhere
                assert slow.heard == []
                may_end.set()

    in_office(tmp_path, scenario)


def test_what_is_begun_ends_before_a_server_whose_clock_is_ahead_may_take_it() -> None:
    last = telling.BEGIN_SECONDS + DRAW_SECONDS + POST_SECONDS
    assert last + 10.0 < telling.CLAIM_SECONDS


def test_two_servers_tell_nothing_twice(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        with Receiver() as receiver:
            for _ in range(10):
                await office.job(receiver.url)
            async with office.telling(), office.telling():
                await office.finish()
                await until(lambda: len(receiver.states) == 30)
            assert len({one.id for one in receiver.heard}) == len(receiver.heard) == 30
            for job in {one.says["job"] for one in receiver.heard}:
                assert [one.state for one in receiver.heard if one.says["job"] == job] == [*STATES]

    in_office(tmp_path, scenario)


def test_what_has_arrived_is_not_sent_again_because_the_database_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telling, "_TROUBLE_SECONDS", 0.02)

    async def scenario(office: Office) -> None:
        held, sent, due = [True], office.store.sent, office.store.due

        async def hear(notice: Notice) -> None:
            if held[0]:
                raise JobsUnavailable("The database of jobs is held by another program.")
            await sent(notice)

        asked: list[str | None] = []

        async def look(sender: str, seconds: float, passing_over: Collection[str]) -> Notice | None:
            notice = await due(sender, seconds, passing_over)
            asked.append(notice and notice.id)
            return notice

        monkeypatch.setattr(office.store, "sent", hear)
        monkeypatch.setattr(office.store, "due", look)
        with Receiver() as receiver:
            async with office.telling():
                await office.job(receiver.url)
                await until(lambda: receiver.states == ["queued"])
                office.clock.ahead += telling.CLAIM_SECONDS + 1.0
                await until(lambda: len([one for one in asked if one]) >= 2)
                held[0] = False
                await office.finish()
                await until(lambda: len(receiver.states) == 3)
        assert [one.state for one in receiver.heard] == [*STATES]

    in_office(tmp_path, scenario)
    assert caplog.text.count("is not written down yet: The database of jobs is held by another program.") == 1


@pytest.mark.parametrize("error", [JobsUnavailable("The database of jobs is damaged."), RuntimeError("a fault")])
def test_a_database_that_cannot_be_asked_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(telling, "_TROUBLE_SECONDS", 0.02)

    async def scenario(office: Office) -> None:
        due, asked = office.store.due, [0]

        async def look(sender: str, seconds: float, passing_over: Collection[str]) -> Notice | None:
            asked[0] += 1
            if asked[0] < 5:
                raise error
            return await due(sender, seconds, passing_over)

        monkeypatch.setattr(office.store, "due", look)
        with Receiver() as receiver:
            await office.job(receiver.url)
            async with office.telling():
                await until(lambda: receiver.states == ["queued"])

    in_office(tmp_path, scenario)
    assert caplog.text.count("no webhooks are called for now") == 1
    assert caplog.text.count("webhooks are called again") == 1


def test_a_server_that_dies_before_it_could_write_it_down_sends_it_again_under_the_same_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "_CLOSE_SECONDS", 0.05)

    async def scenario(office: Office) -> None:
        sent = office.store.sent

        async def never(_: Notice) -> None:
            await asyncio.sleep(60)

        with Receiver() as receiver:
            monkeypatch.setattr(office.store, "sent", never)
            async with office.telling():
                await office.job(receiver.url, SECRET)
                await until(lambda: len(receiver.heard) == 1)
            monkeypatch.setattr(office.store, "sent", sent)
            async with office.telling():
                await asyncio.sleep(0.1)
                assert len(receiver.heard) == 1, "it is the dead one's until its time is over"
                office.clock.ahead += telling.CLAIM_SECONDS
                await until(lambda: len(receiver.heard) == 2)
        assert len({one.id for one in receiver.heard}) == 1

    in_office(tmp_path, scenario)


def test_what_is_being_sent_when_the_server_ends_may_end_and_nothing_else_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "_CLOSE_SECONDS", 60.0)

    async def scenario(office: Office) -> None:
        may_end = threading.Event()

        def linger(_: Receiver) -> int:
            assert may_end.wait(100)
            return 200

        with Receiver(linger) as receiver:
            for _ in range(6):
                await office.job(receiver.url)
            async with office.telling():
                await until(lambda: receiver.at_once == MOST_OF_A_HOST)
                asyncio.get_running_loop().call_later(0.2, may_end.set)
            assert len(receiver.heard) == MOST_OF_A_HOST
            office.clock.ahead += telling.CLAIM_SECONDS
            async with office.telling():
                await until(lambda: len(receiver.heard) == 6)
            assert len({one.id for one in receiver.heard}) == 6

    in_office(tmp_path, scenario)
