"""What each caller may do: whose limits they are, what counts, when there is room again, and what an operator sees."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import ExitStack

import pytest
from test_quota_windows import Clock

from app.domain.engines import SAMPLE_RATE
from app.domain.errors import (
    AudioQuotaTooSmall,
    DeadlineExceeded,
    EngineFailure,
    ModelUnavailable,
    Overloaded,
    QuotaExceeded,
    UndecodableAudio,
)
from app.service.admission import Admission, Caller, Ticket
from app.service.quota_file import KeyLimits
from app.service.quotas import Amounts, Quotas, Usage

ANNA, BERT = Caller("a" * 16, address="10.0.0.1"), Caller("b" * 16, address="10.0.0.1")


def entered(caller: Caller, timeout: float = 60.0) -> Ticket:
    return Admission(max_requests=9, max_wait=60.0, timeout=timeout).enter(caller)


def made(clock: Clock | None = None, **limits: int) -> Quotas:
    return Quotas(Amounts(**limits), clock=clock or Clock())


def ask(quotas: Quotas, caller: Caller = ANNA) -> None:
    with quotas.request(caller, entered):
        pass


def send(quotas: Quotas, seconds: float, caller: Caller = ANNA) -> None:
    with entered(caller) as ticket:
        quotas.sound(ticket, seconds)


def seconds_used(quotas: Quotas) -> int:
    return sum(one.used.seconds for one in quotas.usage())


def test_without_limits_nothing_is_counted() -> None:
    quotas = made()
    for _ in range(100):
        ask(quotas)
        send(quotas, 1e6)
    with quotas.stream(ANNA) as allowance:
        assert allowance.hear(10**9) == 10**9
    assert quotas.requests_left(ANNA) is None
    assert quotas.usage() == []


def test_requests_a_minute() -> None:
    clock = Clock()
    quotas = made(clock, requests=3)
    for _ in range(3):
        ask(quotas)
        clock.now += 7
    with pytest.raises(QuotaExceeded, match=r"the 3 requests a minute that it may \(KEY_REQUESTS_PER_MINUTE\)") as no:
        ask(quotas)
    assert no.value.retry_after == 39  # the first was 21 s ago
    ask(quotas, BERT)

    clock.now += no.value.retry_after - 0.01
    with pytest.raises(QuotaExceeded):
        ask(quotas)
    clock.now += 0.01
    ask(quotas)


def test_a_request_that_is_refused_does_not_count() -> None:
    def full(_: Caller) -> Ticket:
        raise Overloaded("full", retry_after=1)

    quotas = made(requests=1)
    with pytest.raises(Overloaded):
        quotas.request(ANNA, full)
    ask(quotas)
    with pytest.raises(QuotaExceeded):
        ask(quotas)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("failure", "counts"),
    [
        (Overloaded("busy", retry_after=1), False),
        (QuotaExceeded("sound", retry_after=1), False),
        (AudioQuotaTooSmall("sound"), False),
        (UndecodableAudio("x"), True),
        (EngineFailure("x"), True),
    ],
)
def test_nor_does_one_that_is_refused_once_it_is_known_how_long_it_is(
    failure: Exception, counts: bool, late: bool
) -> None:
    """Told by the block that has the ticket; or, of answers that have begun, by the work before the ticket is left."""
    quotas = made(requests=2)
    with pytest.raises(type(failure)), ExitStack() as stack:
        ticket = quotas.request(ANNA, entered)
        if late:
            stack.callback(ticket.leave)
            stack.enter_context(ticket.worked_on())
        else:
            stack.enter_context(ticket)
        raise failure
    room = quotas.requests_left(ANNA)
    assert room is not None and room.remaining == 2 - counts


def test_what_was_given_back_is_not_waited_for() -> None:
    clock = Clock()
    quotas = made(clock, requests=3)
    ask(quotas)
    clock.now += 50
    with pytest.raises(Overloaded), quotas.request(ANNA, entered):
        raise Overloaded("busy", retry_after=1)
    room = quotas.requests_left(ANNA)
    assert room is not None and (room.remaining, room.resets) == (2, 10)


def test_seconds_of_recordings_round_up() -> None:
    clock = Clock()
    quotas = made(clock, seconds=10)
    send(quotas, 3.01)
    clock.now += 100
    send(quotas, 5.0)
    with pytest.raises(QuotaExceeded, match=r"2 s of sound, and of the 10 s an hour .* 1 s are left") as no:
        send(quotas, 1.5)
    assert no.value.retry_after == 3500
    send(quotas, 0.2)
    send(quotas, 10, BERT)
    clock.now += no.value.retry_after
    send(quotas, 1.5)


def test_a_recording_that_never_fits_is_not_to_be_sent_again() -> None:
    quotas = made(seconds=10)
    with pytest.raises(AudioQuotaTooSmall, match="KEY_AUDIO_SECONDS_PER_HOUR"):
        send(quotas, 10.001)
    send(quotas, 10)


@pytest.mark.parametrize("failure", [EngineFailure("x"), UndecodableAudio("x"), RuntimeError("x")])
def test_what_fails_costs_nothing(failure: Exception) -> None:
    quotas = made(seconds=10)
    with pytest.raises(type(failure)), entered(ANNA) as ticket, ticket.worked_on():
        quotas.sound(ticket, 10)
        raise failure
    send(quotas, 10)


def test_of_a_request_that_fails_no_part_costs_anything() -> None:
    quotas = made(seconds=20)
    with pytest.raises(QuotaExceeded), entered(ANNA) as ticket:
        send(quotas, 2)
        for reference in (8, 8):
            with ticket.worked_on():
                quotas.sound(ticket, reference)
        quotas.sound(ticket, 4)
    assert seconds_used(quotas) == 2


@pytest.mark.parametrize(
    ("patience", "timeout", "begun", "used"),
    [(0.01, 60.0, True, 10), (0.01, 60.0, False, 0), (60.0, 0.01, True, 0), (None, 0.01, True, 0)],
)
def test_who_wants_no_more_of_what_has_begun_has_used_it(
    patience: float | None, timeout: float, begun: bool, used: int
) -> None:
    async def main() -> None:
        with entered(Caller(ANNA.key, patience), timeout) as ticket:
            ticket.begin()
            quotas.sound(ticket, 10)
            if begun:
                ticket.expect(0.0)
            await ticket.failed()

    quotas = made(seconds=10)
    with pytest.raises(DeadlineExceeded):
        asyncio.run(main())
    assert seconds_used(quotas) == used


def test_who_leaves_was_served_so_far() -> None:
    quotas = made(seconds=10)
    with pytest.raises(asyncio.CancelledError), entered(ANNA) as ticket, ticket.worked_on():
        quotas.sound(ticket, 10)
        raise asyncio.CancelledError
    assert seconds_used(quotas) == 10


def test_streams_at_once() -> None:
    quotas = made(streams=2)
    with ExitStack() as streams:
        for _ in range(2):
            streams.enter_context(quotas.stream(ANNA))
        with pytest.raises(QuotaExceeded, match=r"the 2 live streams at once that it may \(KEY_STREAMS\)"):
            streams.enter_context(quotas.stream(ANNA))
        streams.enter_context(quotas.stream(BERT))
    with quotas.stream(ANNA):
        assert quotas.usage() == [Usage("aaaaaaaaaaaaaaaa", Amounts(0, 1, 0), Amounts(0, 2, 0))]
    assert quotas.usage() == []


def test_who_has_just_ended_a_stream_may_begin_the_next() -> None:
    async def listen() -> None:
        await quotas.stream_room(ANNA)
        with quotas.stream(ANNA):
            began.set()
            await asyncio.wait_for(end.wait(), 20)

    async def main() -> None:
        first = asyncio.create_task(listen())
        await began.wait()
        began.clear()
        second = asyncio.create_task(listen())
        await asyncio.sleep(0)
        assert not began.is_set()
        end.set()
        await asyncio.gather(first, second)
        assert began.is_set()

    quotas, began, end = made(streams=1), asyncio.Event(), asyncio.Event()
    asyncio.run(main())


def test_who_has_too_many_streams_is_not_kept_waiting_for_long() -> None:
    async def main() -> None:
        with quotas.stream(ANNA):
            await asyncio.wait_for(quotas.stream_room(ANNA), 20)
            with pytest.raises(QuotaExceeded), quotas.stream(ANNA):
                pass

    quotas = made(streams=1)
    asyncio.run(main())


@pytest.mark.parametrize(("block", "late", "streams"), [(0.1, 0, 1), (0.2, 0, 1), (0.5, 0, 3), (0.2, 0.7, 1)])
def test_streams_in_real_time_go_on_where_the_limit_is_just_theirs(block: float, late: float, streams: int) -> None:
    """For two hours; `late`: some of the sound comes so many seconds after the rest would have it."""
    clock = Clock()
    quotas = made(clock, seconds=3600 * streams)
    began, samples = clock.now, round(block * SAMPLE_RATE)
    with ExitStack() as stack:
        allowances = [stack.enter_context(quotas.stream(ANNA)) for _ in range(streams)]
        for number in range(round(7200 / block)):
            clock.now = max(clock.now, began + number * block + (late if number // 10 % 2 else 0.0))
            for allowance in allowances:
                assert allowance.hear(samples) == samples, clock.now - began


def test_who_sends_more_than_in_real_time_is_heard_for_hardly_more() -> None:
    quotas = made(seconds=7200)
    with quotas.stream(ANNA) as allowance:
        assert allowance.hear(10_000 * SAMPLE_RATE) == 7204 * SAMPLE_RATE
    with pytest.raises(QuotaExceeded), quotas.stream(ANNA):
        pass


def test_a_stream_is_a_request_unless_the_server_could_not_begin() -> None:
    quotas = made(requests=2)
    for failure in (Overloaded("full", retry_after=1), ModelUnavailable("loading")):
        with pytest.raises(type(failure)), quotas.stream(ANNA):
            raise failure
    with quotas.stream(ANNA):
        pass
    with pytest.raises(EngineFailure), quotas.stream(ANNA) as allowance:
        allowance.hear(1)
        raise EngineFailure("x")
    with pytest.raises(QuotaExceeded), quotas.stream(ANNA):
        pass
    with pytest.raises(QuotaExceeded):
        ask(quotas)


def test_live_sound_counts_to_the_sample_and_with_recordings() -> None:
    clock = Clock()
    quotas = made(clock, seconds=10)
    send(quotas, 8)
    clock.now += 60
    with quotas.stream(ANNA) as allowance:
        assert allowance.hear(SAMPLE_RATE // 2) == SAMPLE_RATE // 2
        assert seconds_used(quotas) == 9
        with pytest.raises(QuotaExceeded, match="2 s of sound") as no:
            send(quotas, 2)
        assert no.value.retry_after == 3540
        assert allowance.hear(2 * SAMPLE_RATE) == SAMPLE_RATE * 3 // 2
        assert allowance.hear(1) == 0
        with pytest.raises(QuotaExceeded, match="the 10 s of sound an hour") as over:
            allowance.check()
    with pytest.raises(QuotaExceeded), quotas.stream(ANNA):
        pass
    clock.now += over.value.retry_after
    with quotas.stream(ANNA) as allowance:
        assert allowance.hear(SAMPLE_RATE) == SAMPLE_RATE


def test_a_hundred_at_once_are_never_more_than_may_be() -> None:
    quotas = made(requests=60, seconds=100, streams=7)
    done = {"requests": 0, "seconds": 0, "streams": 0, "most": 0}

    async def one(number: int) -> None:
        await asyncio.sleep(0)
        try:
            ask(quotas)
            done["requests"] += 1
            await asyncio.sleep(0)
            send(quotas, 3)
            done["seconds"] += 3
            await asyncio.sleep(0)
        except QuotaExceeded:
            pass
        if number % 2:
            return
        try:
            with quotas.stream(BERT):
                done["streams"] += 1
                done["most"] = max(done["most"], done["streams"])
                await asyncio.sleep(0)
                done["streams"] -= 1
        except QuotaExceeded:
            pass

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(100)))

    asyncio.run(main())
    assert done == {"requests": 60, "seconds": 99, "streams": 0, "most": 7}


def test_without_keys_addresses_count() -> None:
    quotas = made(requests=1)
    ask(quotas, Caller(address="10.0.0.1"))
    ask(quotas, Caller(address="10.0.0.2"))
    ask(quotas, Caller(address="2001:db8:1:2::1"))
    ask(quotas, Caller(address="2001:db8:1:3::1"))
    for same in ("10.0.0.1", "::ffff:10.0.0.2", "2001:db8:1:2:ffff::7", "2001:DB8:1:3::1%eth0"):
        with pytest.raises(QuotaExceeded, match="This address has made"):
            ask(quotas, Caller(address=same))
    assert [one.name for one in quotas.usage()] == [
        "10.0.0.1",
        "10.0.0.2",
        "2001:db8:1:2::/64",
        "2001:db8:1:3::/64",
    ]


def test_the_command_line_has_no_limits() -> None:
    quotas = made(requests=1, seconds=1, streams=1)
    for _ in range(3):
        ask(quotas, Caller())
        send(quotas, 5, Caller())
    with quotas.stream(Caller()), quotas.stream(Caller()):
        pass


def test_a_key_may_have_limits_of_its_own() -> None:
    own = KeyLimits(name="call centre", sha256=hashlib.sha256(b"x").hexdigest(), requests_per_minute=2, streams=0)
    quotas = Quotas(Amounts(1, 1, 10), {ANNA.key: own}, keys=(ANNA.key, BERT.key), clock=Clock())
    ask(quotas)
    ask(quotas)
    with pytest.raises(QuotaExceeded, match=r"2 requests a minute that it may \(KEY_LIMITS_FILE\)"):
        ask(quotas)
    ask(quotas, BERT)
    with pytest.raises(QuotaExceeded, match=r"1 requests a minute that it may \(KEY_REQUESTS_PER_MINUTE\)"):
        ask(quotas, BERT)
    send(quotas, 4)
    assert quotas.usage() == [
        Usage("call centre", Amounts(2, 0, 4), Amounts(2, 0, 10)),
        Usage("bbbbbbbb", Amounts(1, 0, 0), Amounts(1, 1, 10)),
    ]
    room = quotas.requests_left(BERT)
    assert room is not None and (room.limit, room.remaining, room.resets) == (1, 0, 60)
