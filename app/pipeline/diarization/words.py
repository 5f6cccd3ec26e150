"""A speaker for every word, and segments that have one speaker each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from app.domain.speakers import Speaker
from app.domain.transcript import Segment, TokenLogprob, Word, join_words

if TYPE_CHECKING:
    from app.pipeline.diarization.diarizer import Diarization

_AS_MUCH = 1e-3
"""Seconds: less is no difference."""
_CRUMB_SECONDS, _CRUMB_WORDS = 0.4, 2
"""What of a sentence is no more than this at its beginning or end, and seems to be another's, is the sentence's: the
times of words are less exact than that where speakers follow each other without a pause."""


class WhoSpeaks:
    """Looks speakers up by time. Every time has one, if the recording has any: the nearest, where nobody speaks."""

    def __init__(self, found: Diarization) -> None:
        """Cut the recording wherever somebody begins or ends: between two cuts, the same people speak."""
        self._cuts = sorted({time for turn in found.turns for time in (turn.start, turn.end)})
        self._spoken: list[tuple[Speaker, ...]] = [() for _ in self._cuts]  # from a cut to the next
        for turn in found.turns:
            for index in range(bisect_left(self._cuts, turn.start), bisect_left(self._cuts, turn.end)):
                self._spoken[index] += (turn.speaker,)

    def between(self, start: float, end: float, before: Speaker | None = None) -> Speaker | None:
        """Who speaks most between two times; `before`, who spoke last, where several speak as much."""
        end = max(end, start + _AS_MUCH)
        shares: dict[Speaker, float] = {}
        first = max(bisect_right(self._cuts, start) - 1, 0)
        for index in range(first, bisect_left(self._cuts, end)):
            shared = min(end, self._end(index)) - max(start, self._cuts[index])
            for speaker in self._spoken[index] if shared > 0 else ():
                shares[speaker] = shares.get(speaker, 0.0) + shared
        if not shares:
            return self._nearest((start + end) / 2)
        most = max(shares.values())
        if before is not None and shares.get(before, 0.0) > most - _AS_MUCH / 2:
            return before
        return max(shares, key=shares.__getitem__)

    def _end(self, index: int) -> float:
        return self._cuts[index + 1] if index + 1 < len(self._cuts) else self._cuts[index]

    def _nearest(self, time: float) -> Speaker | None:
        """Who ends last before, or begins first after; None in a recording where nobody speaks."""
        here = bisect_right(self._cuts, time) - 1
        before = next((index for index in range(here, -1, -1) if self._spoken[index]), None)
        after = next((index for index in range(here + 1, len(self._cuts)) if self._spoken[index]), None)
        if before is None or after is None:
            place = after if before is None else before
        else:
            place = before if time - self._end(before) <= self._cuts[after] - time else after
        return None if place is None else self._spoken[place][0]


def with_speakers(segments: Iterable[Segment], who: WhoSpeaks) -> Iterator[Segment]:
    """The segments with a speaker for every word, parted where the speaker changes."""
    for segment in segments:
        if not segment.words:
            yield replace(segment, speaker=who.between(segment.start, segment.end))
            continue
        words: list[Word] = []
        last: Speaker | None = None
        for word in segment.words:
            last = who.between(word.start, word.end, last)
            words.append(replace(word, speaker=last))
        yield from _parted(segment, words)


def _parted(segment: Segment, words: Sequence[Word]) -> Iterator[Segment]:
    runs = [tuple(run) for _, run in groupby(_without_crumbs(words), key=lambda word: word.speaker)]
    if len(runs) == 1:
        yield replace(segment, words=runs[0], speaker=runs[0][0].speaker)
        return
    spoken = 0
    for run in runs:
        tokens = tuple(token for word in run for token in word.tokens)
        yield replace(
            segment,
            start=run[0].start,
            end=run[-1].end,
            text=join_words(run),
            words=run,
            speaker=run[0].speaker,
            tokens=tokens,
            logprobs=_slice(segment.logprobs, spoken, len(tokens)),
        )
        spoken += len(tokens)


def _without_crumbs(words: Sequence[Word]) -> list[Word]:
    """A sentence's words, of which the first and last few are not given to another for a moment's sake."""
    runs = [list(run) for _, run in groupby(words, key=lambda word: word.speaker)]
    if len(runs) > 1 and _is_crumb(runs[0], beside=runs[1]):
        runs[0] = [replace(word, speaker=runs[1][0].speaker) for word in runs[0]]
    if len(runs) > 1 and _is_crumb(runs[-1], beside=runs[-2]):
        runs[-1] = [replace(word, speaker=runs[-2][0].speaker) for word in runs[-1]]
    return [word for run in runs for word in run]


def _is_crumb(run: Sequence[Word], beside: Sequence[Word]) -> bool:
    short = len(run) <= _CRUMB_WORDS and run[-1].end - run[0].start <= _CRUMB_SECONDS + _AS_MUCH
    return short and len(beside) > len(run)


def _slice(logprobs: Sequence[TokenLogprob], first: int, count: int) -> tuple[TokenLogprob, ...]:
    return tuple(logprobs[first : first + count])
