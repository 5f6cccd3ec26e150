"""A live stream: every word once, in its utterance, at its time; nothing waits that need not, and nothing stays."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.domain.engines import Hypothesis, WaitingRequest
from app.domain.errors import EngineFailure, SlowReader, SpeechError
from app.domain.events import Closed, Final, Partial, SpeechStarted, SpeechStopped, StreamEvent
from app.domain.options import LiveOptions
from app.pipeline.turns import Turn, Urgency
from app.streaming import outbox
from streaming.talk import ABLE, LIVE, LOUDEST, Listener, events_of, name, play, said, session_of

GREETING = ((0, 0.5), (1, 0.4), (0, 0.1), (2, 0.5), (0, 1.2), (3, 0.6), (0, 0.2), (4, 0.4))


def finals(events: list[StreamEvent]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def heard(
    *stretches: tuple[int, float], live: LiveOptions = LIVE, listener: Listener | None = None
) -> list[StreamEvent]:
    return asyncio.run(events_of(session_of(listener or Listener(), live), said(*stretches)))


def test_two_utterances() -> None:
    events = heard(*GREETING)
    one, two = finals(events)
    assert (one.index, one.text) == (1, "w1 w2")
    assert (two.index, two.text) == (2, "w3 w4")
    assert one.start == pytest.approx(0.5)
    assert one.end == pytest.approx(1.5)
    assert one.time == pytest.approx(2.3)
    assert [(word.text, round(word.start, 2), round(word.end, 2)) for word in two.words] == [
        ("w3", 2.7, 3.3),
        ("w4", 3.5, 3.9),
    ]
    assert one.confidence == pytest.approx(0.9)
    assert events[-1] == Closed(pytest.approx(3.9))
    order = [type(event) for event in events if not isinstance(event, Partial)]
    assert order == [SpeechStarted, SpeechStopped, Final, SpeechStarted, SpeechStopped, Final, Closed] or order == [
        SpeechStarted, SpeechStopped, SpeechStarted, Final, SpeechStopped, Final, Closed,
    ]  # fmt: skip


def test_silence_is_a_stream_without_utterances() -> None:
    assert heard((0, 3.0)) == [Closed(pytest.approx(3.0))]
    assert heard() == [Closed(0.0)]


def test_the_last_word_needs_no_silence_behind_it() -> None:
    assert finals(heard((1, 0.5), (0, 0.2), (2, 0.3)))[0].text == "w1 w2"
    assert finals(heard((1, 0.5), (0, 0.5), (2, 0.1)))[0].text == "w1 w2"


def test_the_final_text_is_asked_for_before_the_end_is_certain() -> None:
    listener = Listener()
    heard((1, 1.0), (0, 2.0), listener=listener)
    urgent = [asked for asked in listener.asked if asked[0] is Urgency.FINAL]
    assert len(urgent) == 1
    assert urgent[0][2] == pytest.approx(1.3)


def test_what_is_said_after_a_pause_has_all_of_it_recognised_again() -> None:
    listener = Listener()
    events = heard((1, 1.0), (0, 0.6), (2, 1.0), (0, 1.0), listener=listener)
    assert [final.text for final in finals(events)] == ["w1 w2"]
    urgent = [asked[1:3] for asked in listener.asked if asked[0] is Urgency.FINAL]
    assert urgent == [(0.0, pytest.approx(1.3)), (0.0, pytest.approx(2.9))]


def test_a_pause_that_the_recogniser_does_not_listen_across_parts_pieces_and_no_utterance() -> None:
    listener = Listener()
    events = heard((1, 1.0), (0, 1.4), (2, 1.0), (0, 2.0), live=LiveOptions(silence_seconds=1.8), listener=listener)
    assert [final.text for final in finals(events)] == ["w1 w2"]
    urgent = [asked[1:3] for asked in listener.asked if asked[0] is Urgency.FINAL]
    assert len(urgent) == 2
    assert urgent[1][0] == pytest.approx(1.9)


def test_speech_without_pauses_is_cut_into_pieces_and_after_long_enough_into_utterances() -> None:
    stretches = [(1 + number % LOUDEST, 0.5) for number in range(100)]
    listener = Listener()
    events = heard(*stretches, live=LiveOptions(longest_seconds=20.0), listener=listener)
    pieces = [asked[1:3] for asked in listener.asked if asked[0] is Urgency.FINAL]
    assert all(end - start <= ABLE.preferred_seconds for start, end in pieces)
    assert all(before[1] == pytest.approx(after[0]) for before, after in pairwise(pieces))
    assert len(finals(events)) == 2
    assert all(final.end - final.start <= 20.0 + ABLE.preferred_seconds for final in finals(events))


def test_pauses_do_not_make_an_utterance_last_for_ever() -> None:
    talk = [part for number in range(1, 13) for part in ((number, 4.0), (0, 2.0))]
    events = heard(*talk, live=LiveOptions(silence_seconds=3.0, longest_seconds=20.0))
    assert [final.text for final in finals(events)] == ["w1 w2 w3 w4", "w5 w6 w7 w8", "w9 w10 w11 w12"]
    assert [final.start for final in finals(events)] == pytest.approx([0.0, 24.0, 48.0])


def test_what_is_being_said_is_told_after_all_that_was_said() -> None:
    class SlowToBeSure(Listener):
        async def submit(self, request: WaitingRequest, turn: Turn) -> Hypothesis:
            self.seconds = 1.0 if turn.urgency is Urgency.FINAL else 0.01
            return await super().submit(request, turn)

    sound = said((1, 0.5), (0, 1.0), *((number, 0.4) for number in range(2, 9)))
    events = asyncio.run(events_of(session_of(SlowToBeSure()), sound, speed=2.0))
    open_ones: set[int] = set()
    for event in events:
        if isinstance(event, SpeechStarted):
            open_ones.add(event.index)
        elif isinstance(event, Final):
            open_ones.remove(event.index)
        elif isinstance(event, Partial):
            assert event.index == min(open_ones)
    assert [event for event in events if isinstance(event, Partial) and event.index == 2]


def test_partials_grow_while_somebody_speaks_and_end_with_the_utterance() -> None:
    listener = Listener()
    sound = said((0, 0.3), *((number, 0.5) for number in range(1, 9)), (0, 1.0), (9, 0.5))
    events = asyncio.run(events_of(session_of(listener), sound, speed=4.0))
    first = [event for event in events if isinstance(event, Partial) and event.index == 1]
    assert len(first) >= 3
    texts = [partial.text for partial in first]
    assert all(before != after for before, after in pairwise(texts))
    assert all(after.stable.startswith(before.stable) for before, after in pairwise(first))
    assert first[-1].stable
    place = events.index(next(event for event in events if isinstance(event, SpeechStopped)))
    assert not [event for event in events[place:] if isinstance(event, Partial) and event.index == 1]


def test_no_partials_where_none_are_wanted() -> None:
    listener = Listener()
    sound = said((0, 0.3), *((number, 0.5) for number in range(1, 9)))
    events = asyncio.run(events_of(session_of(listener, LiveOptions(partials=False)), sound, speed=8.0))
    assert not [event for event in events if isinstance(event, Partial)]
    assert not [asked for asked in listener.asked if asked[0] is not Urgency.FINAL]


def test_one_guess_at_a_time_and_fewer_where_they_take_long() -> None:
    quick, slow = Listener(0.01), Listener(0.4)
    sound = said(*((1 + number % LOUDEST, 0.5) for number in range(24)))
    for listener in (quick, slow):
        asyncio.run(events_of(session_of(listener), sound, speed=4.0))
        assert listener.most_drafts == 1
    assert len([a for a in slow.asked if a[0] is not Urgency.FINAL]) < len(
        [a for a in quick.asked if a[0] is not Urgency.FINAL]
    )


def test_a_guess_that_found_nothing_is_soon_followed_by_another() -> None:
    class Deaf(Listener):
        async def submit(self, request: WaitingRequest, turn: Turn) -> Hypothesis:
            heard = await super().submit(request, turn)
            return replace(heard, text="") if turn.urgency is Urgency.FIRST_DRAFT and request.piece.end < 1.0 else heard

    listener = Deaf()
    asyncio.run(events_of(session_of(listener), said(*((number, 0.5) for number in range(1, 7))), speed=1.0))
    drafts = [(urgency, end) for urgency, _, end, _ in listener.asked if urgency is not Urgency.FINAL]
    first = [end for urgency, end in drafts if urgency is Urgency.FIRST_DRAFT]
    assert first[0] == pytest.approx(0.4, abs=0.15)
    assert first[1] - first[0] < 0.5
    assert len(drafts) > len(first), "once there are words, guesses are no first ones"


def test_a_recogniser_that_goes_on_from_a_text_is_given_all_but_its_end() -> None:
    listener = Listener(able=replace(ABLE, continues=True))
    asyncio.run(events_of(session_of(listener), said(*((number, 0.3) for number in range(1, 40))), speed=4.0))
    prefixes = [prefix for urgency, _, _, prefix in listener.asked if urgency is not Urgency.FINAL and prefix]
    assert prefixes
    assert all(prefix.startswith("w1") for prefix in prefixes)
    assert prefixes[-1].startswith("w1 w2 w3 w4")
    assert all(not prefix for urgency, _, _, prefix in listener.asked if urgency is Urgency.FINAL)


def test_a_failed_piece_fails_the_stream_after_what_was_said_before() -> None:
    listener = Listener(poison={3: EngineFailure("broken")})

    async def run() -> tuple[list[StreamEvent], SpeechError]:
        session = session_of(listener)
        events: list[StreamEvent] = []
        async with session:
            await play(session, said(*GREETING))
            with pytest.raises(EngineFailure) as failed:
                async for event in session.events():
                    events.append(event)
            with pytest.raises(EngineFailure):
                await session.feed(b"\0\0")
        return events, failed.value

    events, failure = asyncio.run(run())
    assert [final.text for final in finals(events)] == ["w1 w2"]
    assert failure.message == "broken"


def test_a_failed_guess_is_a_guess_less() -> None:
    class Guessless(Listener):
        async def submit(self, request: WaitingRequest, turn: Turn) -> Hypothesis:
            if turn.urgency is not Urgency.FINAL:
                raise EngineFailure("no guess")
            return await super().submit(request, turn)

    events = asyncio.run(events_of(session_of(Guessless()), said(*GREETING), speed=8.0))
    assert [final.text for final in finals(events)] == ["w1 w2", "w3 w4"]


def test_leaving_drops_everything_at_once() -> None:
    listener = Listener(seconds=30.0)

    async def run() -> None:
        before = asyncio.all_tasks()
        async with session_of(listener) as session:
            feeding = asyncio.create_task(play(session, said(*GREETING, (0, 5.0)), speed=10.0))
            await asyncio.sleep(0.4)
            assert listener.at_once
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        assert listener.at_once == 0
        assert asyncio.all_tasks() == before

    asyncio.run(asyncio.wait_for(run(), 10))


def test_sound_that_comes_faster_than_it_is_recognised_waits() -> None:
    listener = Listener(seconds=0.05)
    stretches = [stretch for number in range(40) for stretch in ((1 + number, 0.3), (0, 1.0))]

    async def run() -> tuple[int, list[StreamEvent]]:
        async with session_of(listener, bound=16_000) as session:
            feeding = asyncio.create_task(play(session, said(*stretches)))
            events = [event async for event in session.events()]
            await feeding
        return listener.at_once, events

    _, events = asyncio.run(run())
    assert [final.text for final in finals(events)] == [name(1 + number) for number in range(40)]
    waiting = 0
    for event in events:
        waiting += isinstance(event, SpeechStopped) - isinstance(event, Final)
        assert waiting <= 9


def test_who_reads_nothing_is_told_so_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_MOST", 12)
    stretches = [stretch for number in range(8) for stretch in ((1 + number, 0.3), (0, 1.0))]

    async def run() -> list[StreamEvent]:
        events: list[StreamEvent] = []
        async with session_of(Listener()) as session:
            with pytest.raises(SlowReader):
                await play(session, said(*stretches, (0, 10.0)), speed=100.0)
            with pytest.raises(SlowReader):
                async for event in session.events():
                    events.append(event)
        return events

    assert finals(asyncio.run(run()))


_WORDS = st.tuples(st.integers(1, LOUDEST), st.floats(0.2, 2.0))
_GAPS = st.floats(0.0, 2.5)


@hypothesis_settings(max_examples=60)
@given(
    st.lists(st.tuples(_WORDS, _GAPS), max_size=25),
    st.sampled_from([0.2, 0.5, 0.8, 2.0, None]),
    st.sampled_from([0.01, 0.1, 0.33, 5.0]),
)
def test_every_word_is_said_once_and_where_it_was(
    talk: list[tuple[tuple[int, float], float]], silence: float | None, block: float
) -> None:
    numbers = [1 + place % LOUDEST for place in range(len(talk))]  # neighbours differ
    stretches = [
        part
        for number, ((_, seconds), gap) in zip(numbers, talk, strict=True)
        for part in ((number, seconds), (0, gap))
    ]
    sound = said((0, 0.4), *stretches)
    events = asyncio.run(events_of(session_of(Listener(), LiveOptions(silence_seconds=silence)), sound, block=block))
    words = [word for final in finals(events) for word in final.words]
    # A long word may be cut in two; both halves then are heard as the word.
    said_words = [word.text for place, word in enumerate(words) if not place or words[place - 1].text != word.text]
    assert said_words == [name(number) for number in numbers]
    assert all(before.end <= after.start + 1e-6 for before, after in pairwise(words))
    assert [final.index for final in finals(events)] == list(range(1, len(finals(events)) + 1))
    starts = np.flatnonzero(np.diff(np.abs(sound).astype(int)) > 0) / 16_000
    assert all(np.abs(starts - final.start).min() < 0.03 for final in finals(events))


def test_what_was_said_before_the_sound_fails_is_told_before_it() -> None:
    async def run() -> list[StreamEvent]:
        async with session_of(Listener(seconds=0.5)) as session:
            await session.feed(said((1, 0.5), (0, 1.2), (2, 0.5)).tobytes())
            with contextlib.suppress(SpeechError):
                await session.feed(b"RIFF\x00\x00\x00\x00WAVE" + b"fmt \xff\xff\xff\x7f" + bytes(100))
                await session.finish()
            events: list[StreamEvent] = []
            with pytest.raises(SpeechError):
                async for event in session.events():
                    events.append(event)
            return events

    assert [final.text for final in finals(asyncio.run(run()))] == ["w1", "w2"]
