"""Masking in one step, as tests of one text or one transcript want it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.domain.transcript import Transcript
from app.pipeline.hotwords.hits import hits
from app.pipeline.text.masking import LINE, Masker


def mask_text(text: str, maskings: Sequence[Masking]) -> str:
    """The text, masked."""
    return Masker(maskings).text(text) if maskings else text


def masked(transcript: Transcript, maskings: Sequence[Masking]) -> Transcript:
    """The transcript, masked: nothing of what is to be hidden is left in its text, segments, words, tokens and
    hotwords."""
    if not maskings:
        return transcript
    masker = Masker(maskings)
    text, segments = masker.together(transcript.text, transcript.segments)
    found = transcript.hotwords
    if found and any(masking.hides for masking in maskings):
        said = masker.hidden(LINE.join(segment.text for segment in transcript.segments) or transcript.text)
        found = hits([Hotword(hit.text) for hit in found], said, {hit.text: hit.corrected for hit in found})
    return replace(transcript, text=text, segments=tuple(segments), hotwords=found)
