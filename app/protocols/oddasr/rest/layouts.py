"""A transcript in OddASR's three layouts: one text each, without a line end after the last line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Literal, get_args

from app.domain.transcript import Transcript, join_texts
from app.protocols import rendering
from app.protocols.labels import Label
from app.protocols.oddasr.rest.sentences import sentences

Layout = Literal["txt", "spk", "srt"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
_SPEAKER = "{}: "


def drawn(transcript: Transcript, layout: Layout, label: Label, *, one_line: bool = False) -> str:
    """The transcript as `layout`. `label` says what speakers are called; `one_line`: txt has no line for each sentence.

    Nothing said is an empty text.
    """
    if layout == "srt":
        return rendering.srt(transcript, label, prefix=_SPEAKER).rstrip("\n")
    if layout == "spk":
        return "\n".join(_spoken(transcript, label))
    return " ".join(transcript.text.split()) if one_line else "\n".join(sentences(transcript.text))


def _spoken(transcript: Transcript, label: Label) -> Iterator[str]:
    """A line for each sentence of whoever speaks, until somebody else does."""
    for speaker, turn in groupby(transcript.segments, key=lambda segment: segment.speaker):
        prefix = _SPEAKER.format(label(speaker)) if speaker else ""
        for sentence in sentences(join_texts(segment.text for segment in turn)):
            yield f"{prefix}{sentence}"
