"""What an utterance says, parted where the speaker changes: most protocols know one speaker for a sentence."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from app.domain.events import Final
from app.domain.speakers import Speaker
from app.domain.transcript import join_texts


def by_speaker(final: Final) -> list[tuple[Final, Speaker | None]]:
    """The utterance in parts of one speaker each, in order, with who that is; whole, where one speaks or nobody was
    asked for. Nothing is left out, and a part's `time` is its end, but for the last one's."""
    grouped = groupby(final.segments, key=lambda one: None if one.speaker is None else one.speaker.number)
    turns = [(turn[-1].speaker, turn) for turn in (tuple(found) for _, found in grouped)]  # named by now, perhaps
    if len(turns) < 2:
        return [(final, turns[0][0] if turns else None)]
    parts = [
        (
            replace(
                final,
                start=turn[0].start,
                end=turn[-1].end,
                time=turn[-1].end,
                text=join_texts(segment.text for segment in turn),
                segments=turn,
            ),
            speaker,
        )
        for speaker, turn in turns
    ]
    parts[0] = (replace(parts[0][0], start=final.start), parts[0][1])
    parts[-1] = (replace(parts[-1][0], end=final.end, time=final.time), parts[-1][1])
    return parts
