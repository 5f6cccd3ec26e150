"""What can be read of a job's recording while it is still worked on."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from app.domain.engines import Capabilities
from app.domain.options import RecognitionOptions
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Transcript
from app.pipeline.assembling import segments
from app.pipeline.text.masking import Masker
from app.pipeline.text.writing import Writer, Writing, Written
from app.service.collecting import Basis, Collecting
from app.service.jobs.job import Kept, Plan

PARTIAL = "partial"
"""Warning: there may be more to come."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A piece as it is to be read, and the segments that it makes."""

    written: Written
    segments: Sequence[Segment]


def partial_transcript(
    kept: Kept, model: str, options: RecognitionOptions, able: Capabilities, writing: Writing
) -> Transcript:
    """What the leading pieces of each channel say, as far as they are kept without a gap; PARTIAL is in its warnings.

    Speakers are channels, or not told. Where terms are masked, pieces in whose text one may have begun are left out.
    `model` is the id of the one that heard it, which is `able`. Blocking.

    Raises:
        EngineFailure: the punctuation model failed.
    """
    plans = {channel: plan for channel, plan in sorted(kept.plans.items()) if channel >= 0}
    writer = Writer(writing, options, able)
    speakers = _speakers(len(plans), options)
    channels = [list(_leading(kept, writer, channel, plan, speakers.get(channel))) for channel, plan in plans.items()]
    masker = Masker(options.masking, writing.chinese) if options.masking else None
    if masker is not None:
        for pieces in channels:
            _drop_unfinished(pieces, masker)
    any_plan = next(iter(plans.values()), Plan((), (), 0.0))
    basis = Basis(any_plan.duration, any_plan.time_scale, len(plans) > 1, (PARTIAL,))
    result = Collecting(model, basis, replace(options, speakers=None), masker=masker)
    for piece in chain.from_iterable(channels):
        result.hear(piece.written)
    said = [[segment for piece in pieces for segment in piece.segments] for pieces in channels]
    for segment in heapq.merge(*said, key=lambda segment: segment.start):
        result.add(segment)
    return result.transcript()


def _speakers(channels: int, options: RecognitionOptions) -> dict[int, Speaker | None]:
    """Who each channel is; nobody where there is one, which may be a mix of several."""
    if channels <= 1:
        return {0: None}
    roles = options.channel_roles
    return {number: Speaker(number, roles[number] if number < len(roles) else None) for number in range(channels)}


def _leading(kept: Kept, writer: Writer, channel: int, plan: Plan, speaker: Speaker | None) -> Iterator[_Read]:
    """A channel's pieces up to the first that is not kept."""
    for number, cut in enumerate(plan.cuts):
        hypothesis = kept.heard.get((channel, number))
        if hypothesis is None:
            return
        written = writer.written(hypothesis)
        made = segments(cut, written.hypothesis)
        yield _Read(written, made if speaker is None else [said_by(speaker, one) for one in made])


def said_by(speaker: Speaker, segment: Segment) -> Segment:
    """The segment, and each of its words, as this speaker's."""
    words = tuple(replace(word, speaker=speaker) for word in segment.words)
    return replace(segment, speaker=speaker, words=words)


def _drop_unfinished(pieces: list[_Read], masker: Masker) -> None:
    """Take pieces off the end until no term has begun in what is left that may go on in what is to come."""
    while pieces:
        said = [segment for piece in pieces for segment in piece.segments]
        if masker.complete(said) == len(said):
            return
        pieces.pop()
