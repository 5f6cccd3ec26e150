"""How long live texts take, as it is told: from the first sound of an utterance, and from its end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from pipeline.told import Told

from app.domain.errors import EngineFailure
from app.domain.events import Final, Partial
from app.streaming.speech import Clock
from app.streaming.timing import Timing
from streaming.talk import LIVE, SAMPLE_RATE, Listener, events_of, said, session_of


def told_of(*stretches: tuple[int, float], listener: Listener | None = None, partials: bool = True) -> Told:
    told = Told()
    live = replace(LIVE, partials=partials)
    session = session_of(listener or Listener(), live, timing=Timing(told, "stub"))
    try:
        events = asyncio.run(events_of(session, said(*stretches)))
    except EngineFailure:
        return told
    assert len([event for event in events if isinstance(event, Final)]) == len(told.finals)
    assert partials or not any(isinstance(event, Partial) for event in events)
    return told


def test_every_utterance_has_its_final_and_its_first_text_told() -> None:
    told = told_of((1, 1.0), (0, 1.2), (2, 1.0), (0, 1.2))
    assert len(told.finals) == len(told.first_partials) == 2
    assert all(seconds >= 0 for seconds in (*told.finals, *told.first_partials))


def test_all_sound_is_told_as_it_is_heard() -> None:
    told = told_of((1, 1.0), (0, 1.2), (2, 0.55))
    assert {model for model, _ in told.sound} == {"stub"}
    assert len(told.sound) > 1
    assert sum(seconds for _, seconds in told.sound) == pytest.approx(2.75, abs=1 / SAMPLE_RATE)


def test_silence_and_sound_without_words_have_no_first_text() -> None:
    assert told_of((0, 3.0)).finals == []
    wordless = told_of((LOUD_AND_NO_WORD, 1.0), (0, 1.2), listener=Deaf())
    assert len(wordless.finals) == 1
    assert wordless.first_partials == []


def test_where_nobody_wants_texts_meanwhile_no_first_text_is_told() -> None:
    told = told_of((1, 1.0), (0, 1.2), partials=False)
    assert len(told.finals) == 1
    assert told.first_partials == []


def test_what_takes_time_to_be_recognised_is_told_to_take_it() -> None:
    told = told_of((1, 1.0), (0, 0.9), listener=Listener(seconds=0.4))
    assert told.first_partials[0] >= 0.4


def test_times_count_from_the_block_of_the_first_sound_and_from_the_end() -> None:
    told = Told()
    timing, clock = Timing(told, "stub"), Clock()
    timing.heard(0.1, 0.1)
    time.sleep(0.2)
    second = time.monotonic()
    timing.heard(0.1, 0.2)
    time.sleep(0.1)
    timing.heard(0.1, 0.3)
    timing.begin(clock, 0.15)  # in the second block
    timing.partial(clock)
    assert 0.1 <= told.first_partials[0] <= time.monotonic() - second
    timing.end(clock)
    time.sleep(0.1)
    timing.final(clock, text=True)
    assert told.finals[0] >= 0.1
    assert len(told.first_partials) == 1, "it had been told"


def test_what_is_cut_from_speech_that_goes_on_has_no_first_text_of_its_own() -> None:
    """Its first words were told as those of what it was cut from."""
    told = Told()
    live = replace(LIVE, longest_seconds=5.0)
    session = session_of(Listener(), live, timing=Timing(told, "stub"))
    events = asyncio.run(events_of(session, said(*((word, 0.5) for word in range(1, 60)))))
    assert len([event for event in events if isinstance(event, Final)]) > 1
    assert len(told.first_partials) == 1


LOUD_AND_NO_WORD = 7


class Deaf(Listener):
    """Hears sound and no words."""

    async def submit(self, request, turn):  # type: ignore[no-untyped-def]
        hypothesis = await super().submit(request, turn)
        return replace(hypothesis, text="", words=())
