"""Sentences to paragraphs: segments of one speaker joined the way funasr-api's users know them.

First short ones, until there are ten seconds; then neighbours, up to a minute. A long silence, or another speaker,
always ends a segment, and nothing is lost or said twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from app.domain.transcript import Segment, separator

SHORT_SECONDS = 10.0
"""A segment of so much is long enough to stand as it is in the first layer."""
LONGEST_SECONDS = 60.0
"""No segment is joined to more than this."""
LONGEST_SILENCE = 3.0
"""Seconds: silence that ends a segment, as it ends a piece."""

_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


def layered(segments: Iterable[Segment]) -> list[Segment]:
    """The segments in both layers joined. All of them have their speaker; the texts and words are all there."""
    units = [_joined(run) for run in _runs(segments, full=SHORT_SECONDS)]
    return [_joined(run) for run in _runs(units, full=LONGEST_SECONDS)]


def _runs(segments: Iterable[Segment], full: float) -> Iterator[list[Segment]]:
    """Neighbours to be joined: one speaker, no long silence, begun before `full` seconds, never over the longest."""
    run: list[Segment] = []
    for segment in segments:
        if run and not _goes_on(run, segment, full):
            yield run
            run = []
        run.append(segment)
    if run:
        yield run


def _goes_on(run: Sequence[Segment], segment: Segment, full: float) -> bool:
    return (
        segment.speaker == run[0].speaker
        and segment.start - run[-1].end <= LONGEST_SILENCE
        and run[-1].end - run[0].start < full
        and segment.end - run[0].start <= LONGEST_SECONDS
    )


def _joined(run: Sequence[Segment]) -> Segment:
    if len(run) == 1:
        return run[0]
    return replace(
        run[0],
        end=max(segment.end for segment in run),
        text=_text(run),
        words=tuple(word for segment in run for word in segment.words),
        tokens=tuple(token for segment in run for token in segment.tokens),
        logprobs=tuple(logprob for segment in run for logprob in segment.logprobs),
        temperature=_most(segment.temperature for segment in run),
        avg_logprob=_mean(run, [segment.avg_logprob for segment in run]),
        compression_ratio=_most(segment.compression_ratio for segment in run),
        no_speech_prob=_mean(run, [segment.no_speech_prob for segment in run]),
    )


def _text(run: Sequence[Segment]) -> str:
    """The texts as one. A pause ends a segment, but puts no space into Chinese or Japanese."""
    text = ""
    for segment in run:
        unspaced = bool(_UNSPACED.match(text[-1:]) and _UNSPACED.match(segment.text))
        text += ("" if unspaced else separator(text, segment.text)) + segment.text
    return text


def _most(figures: Iterable[float | None]) -> float | None:
    return max((figure for figure in figures if figure is not None), default=None)


def _mean(run: Sequence[Segment], figures: Sequence[float | None]) -> float | None:
    """The mean of a figure, each segment weighted by its tokens."""
    known = [
        (figure, max(len(segment.tokens), 1))
        for segment, figure in zip(run, figures, strict=True)
        if figure is not None
    ]
    return sum(figure * weight for figure, weight in known) / sum(weight for _, weight in known) if known else None
