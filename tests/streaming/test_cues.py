"""A caller that says itself what is over, and what is to be forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.audio.declared import DeclaredSound
from app.audio.live import Cue, open_source
from app.domain.engines import SAMPLE_RATE
from app.domain.errors import UnsupportedFeature
from app.domain.events import Cleared, Closed, Committed, Final, Partial, SpeechStarted, SpeechStopped, StreamEvent
from app.domain.options import LiveOptions
from streaming.talk import LIVE, Listener, said, session_of

MANUAL = LiveOptions(silence_seconds=None)
Step = tuple[tuple[int, float], ...] | Cue


def told(
    *steps: Step, live: LiveOptions = LIVE, listener: Listener | None = None, block: float = 0.07
) -> list[StreamEvent]:
    """What a stream says that is fed sounds and told things in turns; no partials."""

    async def run() -> list[StreamEvent]:
        async with session_of(listener or Listener(), live) as session:
            say: dict[Cue, Callable[[], Awaitable[None]]] = {Cue.COMMIT: session.commit, Cue.CLEAR: session.clear}
            for step in steps:
                if isinstance(step, Cue):
                    await say[step]()
                    continue
                data = said(*step).tobytes()
                size = 2 * round(block * SAMPLE_RATE)
                for start in range(0, len(data), size):
                    await session.feed(data[start : start + size])
            await session.finish()
            return [event async for event in session.events() if not isinstance(event, Partial)]

    return asyncio.run(run())


def texts(events: list[StreamEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Final)]


def test_what_is_committed_is_over_without_silence() -> None:
    events = told(((1, 0.5), (2, 0.5)), Cue.COMMIT, ((3, 0.5), (0, 1.0)), live=MANUAL)
    assert texts(events) == ["w1 w2", "w3"]
    (committed,) = (event for event in events if isinstance(event, Committed))
    assert committed == Committed(last=1, ended=True, time=pytest.approx(1.0))
    stopped = next(event for event in events if isinstance(event, SpeechStopped))
    assert (stopped.end, stopped.time) == (pytest.approx(1.0), pytest.approx(1.0))
    assert events.index(stopped) < events.index(committed)


def test_a_commit_of_silence_says_that_nobody_spoke() -> None:
    events = told(((0, 1.0),), Cue.COMMIT, ((1, 0.5), (0, 1.5)), Cue.COMMIT)
    assert [event for event in events if isinstance(event, Committed)] == [
        Committed(last=0, ended=False, time=pytest.approx(1.0)),
        Committed(last=1, ended=False, time=pytest.approx(3.0)),
    ]
    assert texts(events) == ["w1"]


def test_commits_without_sound_do_nothing() -> None:
    events = told(Cue.COMMIT, Cue.COMMIT, ((1, 0.5),), Cue.COMMIT, Cue.COMMIT)
    assert [event.ended for event in events if isinstance(event, Committed)] == [False, False, True, False]
    assert texts(events) == ["w1"]


def test_times_go_on_behind_a_commit() -> None:
    events = told(((1, 0.5), (0, 0.203)), Cue.COMMIT, ((0, 0.5), (2, 0.6)), live=MANUAL)
    first, second = (event for event in events if isinstance(event, Final))
    assert (first.start, first.end) == (pytest.approx(0.0), pytest.approx(0.5, abs=0.011))
    assert (second.start, second.end) == (pytest.approx(1.203, abs=0.011), pytest.approx(1.803, abs=0.011))
    assert [(word.text, round(word.start, 1)) for word in second.words] == [("w2", 1.2)]
    assert events[-1] == Closed(pytest.approx(1.803))


def test_nothing_comes_of_what_is_cleared() -> None:
    events = told(((1, 0.6), (2, 0.6)), Cue.CLEAR, ((3, 0.5), (0, 1.0)))
    assert texts(events) == ["w3"]
    assert Cleared(index=1, time=pytest.approx(1.2)) in events
    assert [event.index for event in events if isinstance(event, SpeechStarted)] == [1, 2]
    assert [event.index for event in events if isinstance(event, SpeechStopped)] == [2]


def test_what_was_over_before_stays() -> None:
    events = told(((1, 0.5), (0, 1.5), (2, 0.5)), Cue.CLEAR, ((3, 0.5),), listener=Listener(seconds=0.2))
    assert texts(events) == ["w1", "w3"]


def test_a_clear_in_silence() -> None:
    events = told(((1, 0.5), (0, 1.5)), Cue.CLEAR, Cue.CLEAR, ((2, 0.5),))
    assert [event.index for event in events if isinstance(event, Cleared)] == [None, None]
    assert texts(events) == ["w1", "w2"]


def test_no_partial_of_what_was_cleared_comes_late() -> None:
    async def run() -> list[StreamEvent]:
        async with session_of(Listener(seconds=0.3), LIVE) as session:
            events: list[StreamEvent] = []

            async def read() -> None:
                events.extend([event async for event in session.events()])

            reading = asyncio.create_task(read())
            for _ in range(10):
                await session.feed(said((1, 0.1)).tobytes())
                await asyncio.sleep(0.02)
            await session.clear()
            await session.feed(said((0, 0.5)).tobytes())
            await asyncio.sleep(0.5)
            await session.finish()
            await reading
            return events

    events = asyncio.run(run())
    cleared = next(place for place, event in enumerate(events) if isinstance(event, Cleared))
    assert [type(event) for event in events[cleared:]] == [Cleared, Closed]


def test_silence_that_nobody_ends_is_not_kept() -> None:
    async def run() -> tuple[float, list[StreamEvent]]:
        async with session_of(Listener(), MANUAL) as session:
            await session.feed(said((1, 0.5)).tobytes())
            for _ in range(60):
                await session.feed(said((0, 1.0)).tobytes())
            while session._sound.end < 60:  # noqa: ASYNC110 - it is listened to by others
                await asyncio.sleep(0.01)
            kept = len(session._sound.stretch(0, 61).samples) / SAMPLE_RATE
            await session.feed(said((2, 0.5)).tobytes())
            await session.commit()
            await session.finish()
            return kept, [event async for event in session.events()]

    kept, events = asyncio.run(run())
    assert kept < 5
    assert texts(events) == ["w1 w2"]


def test_who_only_says_that_it_is_over_waits_too() -> None:
    async def run() -> None:
        source = open_source(DeclaredSound("s16le", SAMPLE_RATE), bound=16_000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                for _ in range(100):
                    await source.cue(Cue.COMMIT)
        await source.close()

    asyncio.run(run())


WORDS = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 50), st.floats(0.3, 0.8)),
        st.tuples(st.just(0), st.floats(0.05, 1.5)),
        st.just(Cue.COMMIT),
    ),
    max_size=12,
)


@given(WORDS, st.sampled_from([LIVE, MANUAL]), st.floats(0.013, 0.5))
@hypothesis_settings(max_examples=60, deadline=None)
def test_wherever_it_is_committed_no_word_is_lost_or_doubled(
    steps: list[tuple[int, float] | Cue], live: LiveOptions, block: float
) -> None:
    spoken = [(Cue.COMMIT if isinstance(step, Cue) else (step,)) for step in steps]
    words = [step[0] for step in steps if not isinstance(step, Cue) and step[0]]
    events = told(*spoken, live=live, block=block)
    heard = [int(word[1:]) for text in texts(events) for word in text.split()]
    assert _once(heard) == _once(words)
    finals = [event.index for event in events if isinstance(event, Final)]
    assert finals == list(range(1, len(finals) + 1))
    assert sum(isinstance(event, Committed) for event in events) == sum(isinstance(step, Cue) for step in steps)


def _once(words: list[int]) -> list[int]:
    """One word said twice in a row is one stretch of sound, which a commit may stand in the middle of."""
    return [word for place, word in enumerate(words) if not place or word != words[place - 1]]


def test_a_commit_in_the_middle_of_a_sample_does_not_part_it() -> None:
    async def run() -> list[StreamEvent]:
        async with session_of(Listener(), MANUAL) as session:
            sound = said((1, 0.5), (2, 0.5)).tobytes()
            await session.feed(sound[:16_001])
            await session.commit()
            await session.feed(sound[16_001:])
            await session.finish()
            return [event async for event in session.events()]

    assert texts(asyncio.run(run())) == ["w1", "w2"]


def test_other_rates_are_heard_to_the_commit() -> None:
    async def run() -> int:
        source = open_source(DeclaredSound("s16le", 24_000), bound=1_000_000)
        await source.feed(bytes(2 * 24_000))
        await source.cue(Cue.COMMIT)
        await source.feed(bytes(2 * 12_000))
        await source.finish()
        heard = [block async for block in source.blocks()]
        place = next(place for place, block in enumerate(heard) if isinstance(block, Cue))
        assert sum(len(block) for block in heard[place + 1 :] if not isinstance(block, Cue)) == 8_000
        return sum(len(block) for block in heard[:place] if not isinstance(block, Cue))

    assert asyncio.run(run()) == 16_000


def test_compressed_sound_cannot_be_committed() -> None:
    async def run() -> None:
        source = open_source(None, bound=1_000)
        try:
            await source.feed(b"OggS" + bytes(100))
            with pytest.raises(UnsupportedFeature):
                await source.cue(Cue.COMMIT)
        finally:
            await source.close()

    asyncio.run(run())
