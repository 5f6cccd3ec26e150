"""Cutting a recording into pieces: all of the speech, no silence, never through a word if it can be helped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.domain.engines import SAMPLE_RATE, Sound, SpeechSpan

MAX_SILENCE = 3.0
"""Seconds. A longer pause is never sent to a recogniser: it makes up words there. A model may declare less."""
PADDING = 0.5
"""Seconds kept around speech, up to half of the pause. Detected edges clip soft sounds, and with less lead-in
Whisper mishears the first and last words (`python -m benchmarks.padding`)."""
_EARLIEST_CUT = 0.6
"""A piece that must end before its speech does is cut in the last 40 % of its length: later cuts make fewer pieces,
earlier ones leave a better choice."""
_QUIET_WINDOW = 0.16
_QUIET_STEP = 0.02
"""Seconds: the stretch whose loudness is compared, and the step between places tried, when speech must be cut."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A piece to be: where it starts and ends in the recording, and the speech it holds; all in seconds."""

    start: float
    end: float
    spans: tuple[SpeechSpan, ...]


def cut(sound: Sound, spans: Sequence[SpeechSpan], longest: float, max_silence: float = MAX_SILENCE) -> list[Cut]:
    """Pieces of at most `longest` seconds that cover every span, in order, padded into the pauses between them.

    Spans are merged greedily; a pause over `max_silence` seconds always ends a piece; when the next span does not fit,
    the piece ends at the widest pause of its last part; a span that is too long by itself is cut where it is quietest.
    """
    groups: list[list[SpeechSpan]] = []
    current: list[SpeechSpan] = []
    room = max(longest - 2 * PADDING, longest / 2)
    for span in (part for whole in spans for part in _fitting(sound, whole, room)):
        if current and span.start - current[-1].end > max_silence:
            groups.append(current)
            current = []
        while current and span.end - current[0].start > room:
            head, current = _divided([*current, span], room)
            groups.append(head)
            current.pop()  # the new span itself is added below
        current.append(span)
    if current:
        groups.append(current)
    return _padded(groups, sound.duration, longest)


def _divided(spans: list[SpeechSpan], room: float) -> tuple[list[SpeechSpan], list[SpeechSpan]]:
    """Spans that are too long for `room` together, divided at the widest late pause that makes the first part fit."""
    start = spans[0].start
    fitting = [index for index in range(1, len(spans)) if spans[index - 1].end - start <= room]
    late = [index for index in fitting if spans[index - 1].end - start >= room * _EARLIEST_CUT] or fitting[-1:]
    best = max(late, key=lambda index: spans[index].start - spans[index - 1].end)
    return spans[:best], spans[best:]


def _fitting(sound: Sound, span: SpeechSpan, room: float) -> list[SpeechSpan]:
    """The span itself, or its parts if it is longer than `room` seconds."""
    parts: list[SpeechSpan] = []
    start = span.start
    while span.end - start > room:
        place = quietest(sound, start + room * _EARLIEST_CUT, start + room)
        parts.append(SpeechSpan(start, place))
        start = place
    return [*parts, SpeechSpan(start, span.end)]


def quietest(sound: Sound, earliest: float, latest: float) -> float:
    """The middle of the quietest stretch between two times, in seconds; of equals the last."""
    samples = sound.piece(earliest, latest).astype(np.float64)
    window, step = round(_QUIET_WINDOW * SAMPLE_RATE), round(_QUIET_STEP * SAMPLE_RATE)
    if len(samples) <= window:
        return (earliest + latest) / 2
    energy = np.concatenate([[0.0], np.cumsum(samples**2)])
    loudness = (energy[window:] - energy[:-window])[::step]
    last_best = len(loudness) - 1 - int(np.argmin(loudness[::-1]))
    return earliest + (last_best * step + window / 2) / SAMPLE_RATE


def _padded(groups: list[list[SpeechSpan]], duration: float, longest: float) -> list[Cut]:
    """Cuts with up to PADDING seconds of what lies around them; neighbours share the pause between them."""
    cuts: list[Cut] = []
    for index, spans in enumerate(groups):
        first, last = spans[0].start, spans[-1].end
        before = (groups[index - 1][-1].end + first) / 2 if index else 0.0
        after = (last + groups[index + 1][0].start) / 2 if index + 1 < len(groups) else duration
        padding = min(PADDING, (longest - (last - first)) / 2)
        cuts.append(Cut(max(first - padding, before), min(last + padding, after), tuple(spans)))
    return cuts
