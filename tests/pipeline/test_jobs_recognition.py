"""A job's pieces: what is kept is not recognised again, and an interruption changes nothing of the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from app.domain.engines import Hypothesis, PieceRequest
from app.domain.errors import JobsUnavailable
from app.domain.options import RecognitionOptions
from app.pipeline.batching import Batcher
from app.pipeline.recognition import Heard, Recognition
from app.pipeline.segmentation import Cut
from app.pipeline.turns import Urgency

from .stubs import StubRecognizer, StubSound
from .test_batching import run, until
from .test_recognition import AUTO, ENGLISH, cuts_of, hears

MIXED = {
    0.0: {"zh": 0.9, "en": 0.1},
    10.0: {"en": 0.8, "zh": 0.2},
    20.0: {"zh": 0.6, "en": 0.4},
    30.0: {"en": 1.0},
}
"""By time; the first three settle the language, one of them against the others."""


class Killed(Exception):  # noqa: N818 - an event
    """The server was, in the middle of keeping something."""


@dataclass
class Notes:
    """A memory that lasts from one attempt to the next; with `room` for so many more, then the server is killed."""

    kept: dict[int, Hypothesis] = field(default_factory=dict)
    writes: list[int] = field(default_factory=list)
    room: int = 10_000

    def heard(self, number: int) -> Hypothesis | None:
        return self.kept.get(number)

    async def keep(self, number: int, hypothesis: Hypothesis) -> None:
        await asyncio.sleep(0)
        if self.room == 0:
            raise Killed
        self.room -= 1
        self.kept[number] = hypothesis
        self.writes.append(number)


@dataclass
class Attempt:
    """What came of one: what was told, and what was asked of the recogniser (where, and in which language)."""

    heard: list[Heard]
    asked: list[tuple[float, str | None]]
    killed: bool


def attempt(
    notes: Notes,
    cuts: list[Cut],
    options: RecognitionOptions = AUTO,
    hear: Callable[[PieceRequest], Hypothesis] | None = None,
    calls: int = 2,
) -> Attempt:
    """Work on a recording until it is done, or killed."""
    recognizer = StubRecognizer(hear or hears(MIXED), parallel_calls=calls, batch_cost=10.0)
    heard: list[Heard] = []
    killed = False

    async def scenario(batcher: Batcher) -> None:
        nonlocal killed
        work = Recognition(StubSound(1e6), recognizer, batcher, options, urgency=Urgency.JOB, memory=notes)
        try:
            async with aclosing(work.pieces(cuts)) as pieces:
                heard.extend([piece async for piece in pieces if isinstance(piece, Heard)])
        except Killed:
            killed = True

    run(recognizer, scenario)
    asked = [(one.piece.start, one.options.language) for call in recognizer.calls for one in call]
    return Attempt(heard, asked, killed)


def test_what_is_kept_is_not_recognised_again() -> None:
    cuts = cuts_of(9)
    notes = Notes(room=5)
    assert attempt(notes, cuts, ENGLISH).killed
    kept = {number * 10.0 for number in notes.kept}
    assert len(kept) == 5
    notes.room = 100
    second = attempt(notes, cuts, ENGLISH)
    assert [piece.hypothesis.text for piece in second.heard] == [f"{cut.start:g} in en" for cut in cuts]
    assert {start for start, _ in second.asked} == {cut.start for cut in cuts} - kept
    assert attempt(notes, cuts, ENGLISH).asked == [], "all is kept"


def test_a_piece_is_kept_before_it_is_told() -> None:
    notes = Notes(room=4)
    first = attempt(notes, cuts_of(9), ENGLISH)
    assert first.killed
    assert {int(piece.cut.start / 10) for piece in first.heard} <= set(notes.kept)


@pytest.mark.parametrize("calls", [1, 2, 4])
@pytest.mark.parametrize("room", range(8))
def test_killed_after_any_number_of_kept_pieces_the_outcome_is_the_same(room: int, calls: int) -> None:
    cuts = cuts_of(6)
    chances = MIXED | {40.0: {"en": 1.0}, 50.0: {"en": 1.0}}
    undisturbed = Notes()
    whole = attempt(undisturbed, cuts, hear=hears(chances), calls=calls)
    assert [piece.hypothesis.language for piece in whole.heard] == ["zh"] * 6
    assert len(undisturbed.writes) == 7, "the dissenter was heard, and kept, twice"
    notes = Notes(room=room)
    first = attempt(notes, cuts, hear=hears(chances), calls=calls)
    assert first.killed == (room < 7)
    raw = {number for number, hypothesis in notes.kept.items() if hypothesis.language != "zh"}
    settled = {number * 10.0 for number in notes.kept} - {number * 10.0 for number in raw}
    notes.room = 100
    second = attempt(notes, cuts, hear=hears(chances), calls=calls)
    assert second.heard == whole.heard
    again = [start for start, _ in second.asked]
    assert not set(again) & settled, "nothing that was kept in the recording's language is recognised again"
    for number in raw:  # heard in another language, and that anew in this one, as without an interruption
        assert [language for start, language in second.asked if start == number * 10.0] == ["zh"]


def test_killed_again_and_again_it_is_done_and_nothing_is_lost() -> None:
    cuts = cuts_of(12)
    chances = MIXED | {float(start): {"en": 1.0} for start in range(40, 120, 10)}
    whole = attempt(Notes(), cuts, hear=hears(chances))
    notes, attempts = Notes(room=1), 1
    while (last := attempt(notes, cuts, hear=hears(chances))).killed:
        notes.room, attempts = 1, attempts + 1
    assert last.heard == whole.heard
    assert attempts == 13, "each kept a piece, and one of them is kept twice"
    assert sorted(notes.writes) == sorted([*range(12), 1])


def test_the_language_of_an_only_leading_piece_holds_after_an_interruption() -> None:
    cuts = cuts_of(4, seconds=30.0)
    chances = {start: {"zh": 0.6, "en": 0.4} if start == 0.0 else {"en": 1.0} for start in (0.0, 30.0, 60.0, 90.0)}
    notes = Notes(room=1)
    assert attempt(notes, cuts, hear=hears(chances)).killed
    notes.room = 100
    second = attempt(notes, cuts, hear=hears(chances))
    assert [language for _, language in second.asked] == ["zh"] * 3
    assert {piece.hypothesis.language for piece in second.heard} == {"zh"}


def test_what_the_memory_cannot_keep_ends_the_work() -> None:
    class Full(Notes):
        async def keep(self, number: int, hypothesis: Hypothesis) -> None:
            raise JobsUnavailable("no room")

    async def scenario(batcher: Batcher) -> None:
        work = Recognition(StubSound(1e6), recognizer, batcher, ENGLISH, urgency=Urgency.JOB, memory=Full())
        with pytest.raises(JobsUnavailable):
            [_ async for _ in work.pieces(cuts_of(30))]
        await until(lambda: batcher.waiting == 0)

    recognizer = StubRecognizer(hears(MIXED), batch_cost=10.0)
    run(recognizer, scenario)
    assert len(recognizer.calls) < 10, "the rest is not recognised for nothing"
