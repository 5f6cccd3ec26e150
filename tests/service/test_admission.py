"""Who is let in, and what the others are told."""

from __future__ import annotations

import asyncio

import pytest

from app.domain.errors import DeadlineExceeded, Overloaded
from app.service.admission import Admission, Caller, Ticket


def door(*, requests: int = 100, wait: float = 30.0, timeout: float = 3600.0, keys: int = 0) -> Admission:
    return Admission(max_requests=requests, max_wait=wait, timeout=timeout, keys=keys)


def inside(admission: Admission, work: float, key: str = "", patience: float | None = None) -> Ticket:
    ticket = admission.enter(Caller(key, patience))
    ticket.begin()
    ticket.expect(work)
    return ticket


def test_an_idle_house_takes_work_of_any_length() -> None:
    admission = door()
    inside(admission, 3000.0)
    assert admission.active == 1
    assert admission.backlog == 3000.0


def test_a_newcomer_is_refused_when_it_would_wait_too_long_and_told_when_to_come_back() -> None:
    admission = door(wait=30)
    tickets = [inside(admission, 2.0) for _ in range(16)]
    with pytest.raises(Overloaded) as caught:
        admission.enter(Caller())
    assert 1 <= caught.value.retry_after <= 60
    tickets[0].leave()
    tickets[1].did(2.0)
    admission.enter(Caller())


def test_a_short_request_waits_for_its_turns_only_so_a_long_one_does_not_shut_it_out() -> None:
    admission = door(wait=30)
    for _ in range(100):  # short requests are what is usual
        inside(admission, 0.5).leave()
    long = inside(admission, 600.0)
    assert admission.wait("", 0.5) == 0.5
    for _ in range(40):
        inside(admission, 0.5)
    assert long.remaining == 600.0


def test_a_long_request_bears_a_longer_wait() -> None:
    admission = door(wait=30)
    inside(admission, 300.0)
    inside(admission, 300.0)


def test_what_turns_out_to_wait_too_long_is_refused_after_all() -> None:
    admission = door(wait=10)
    inside(admission, 1.0).leave()
    busy = [inside(admission, 1.0) for _ in range(10)]
    ticket = admission.enter(Caller())
    ticket.begin()
    for other in busy:
        other.remaining = 100.0
    with pytest.raises(Overloaded):
        ticket.expect(8.0)
    assert admission.active == len(busy) + 1


def test_another_key_is_let_in_where_a_busy_one_is_not() -> None:
    admission = door(wait=10, keys=2)
    for _ in range(10):
        inside(admission, 2.0, key="busy")
    with pytest.raises(Overloaded):
        admission.enter(Caller("busy"))
    inside(admission, 2.0, key="other")


def test_one_key_cannot_take_all_places() -> None:
    admission = door(requests=8, keys=2)
    for _ in range(6):
        admission.enter(Caller("greedy"))
    with pytest.raises(Overloaded):
        admission.enter(Caller("greedy"))
    admission.enter(Caller("other"))


def test_without_keys_all_places_are_everybodys() -> None:
    admission = door(requests=3)
    tickets = [admission.enter(Caller()) for _ in range(3)]
    with pytest.raises(Overloaded, match="3 requests"):
        admission.enter(Caller())
    with tickets[0]:
        pass
    tickets[0].leave()
    admission.enter(Caller())


def test_who_has_no_patience_is_refused_at_the_door() -> None:
    admission = door(wait=30)
    for _ in range(4):
        inside(admission, 5.0)
    with pytest.raises(Overloaded):
        admission.enter(Caller(patience=6.0))
    admission.enter(Caller(patience=60.0))


def test_work_that_cannot_be_done_in_time_is_not_begun() -> None:
    admission = door(timeout=60)
    ticket = admission.enter(Caller())
    ticket.begin()
    with pytest.raises(DeadlineExceeded, match="about 90 s"):
        ticket.expect(90.0)


@pytest.mark.parametrize(("patience", "streamed", "ends"), [(0.05, False, True), (0.05, True, False)])
def test_time_counts_from_the_upload_and_a_stream_is_not_silence(patience: float, streamed: bool, ends: bool) -> None:
    async def main() -> str:
        ticket = door().enter(Caller(patience=patience))
        await asyncio.sleep(0.1)  # a slow upload is not the server's time
        ticket.begin(streamed=streamed)
        return await ticket.in_time(asyncio.sleep(0.2, "done"))

    if ends:
        with pytest.raises(DeadlineExceeded):
            asyncio.run(main())
    else:
        assert asyncio.run(main()) == "done"


def test_a_step_s_own_time_out_stays_its_own() -> None:
    async def step() -> None:
        raise TimeoutError

    async def main() -> None:
        ticket = door().enter(Caller())
        ticket.begin()
        await ticket.in_time(step())

    with pytest.raises(TimeoutError):
        asyncio.run(main())
