"""A transcript as plain text, lines with speakers, SubRip and WebVTT: what several protocols hand out, drawn once.

Subtitle cues are cut from words, so that a cue is read in the time it is shown: at most 7 seconds and two lines,
whole words, preferably ending where the speaker breathes. A segment without word times is one cue.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.domain.transcript import Segment, Transcript, Word, join_words
from app.protocols.labels import Label, numbered

MAX_CUE_SECONDS = 7.0
"""Longer than this and viewers read a cue twice (the common subtitling guideline)."""
LINE_WIDTH = 42.0
"""Latin characters in a line: the usual broadcast limit."""
WIDE_CHARACTER = 2.5
"""Width of a Chinese, Japanese or Korean character in Latin ones: sixteen make a line."""
PAUSE_SECONDS = 1.5
"""Silence that always ends a cue: nothing should stand on screen while nobody speaks."""
BRACKETED = "[{}] "
"""How cues begin that say who speaks."""

_SENTENCE_ENDS = frozenset("。！？!?.…")
_CLAUSE_ENDS = frozenset("，、；：,;:—–")
_CLOSING = "\"'”’)]}）】』」》"
_INVISIBLE = frozenset({"Mn", "Me", "Cf"})
_ENGLISH = numbered("en")
_UNITS = re.compile(r"(?P<space>\s*)(?P<text>(?:[^\s\u2e80-\uffff]+|\S)[，。！？、；：”’）】》」』]*)")


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: whole milliseconds, `end` after `start`, and its lines (never blank, no format escaped yet)."""

    start: int
    end: int
    lines: tuple[str, ...]


def plain_text(transcript: Transcript) -> str:
    """The words and one newline; nothing at all when nothing was said."""
    text = transcript.text.strip()
    return f"{text}\n" if text else ""


def spk(transcript: Transcript, label: Label) -> str:
    """A line for each segment: who speaks, by `label`, a colon, and the words; the words alone where nobody knows.

    Every line ends in a newline; segments without text have none. Nothing at all when nothing was said.
    """
    lines = ((segment.speaker, _flat(segment.text)) for segment in transcript.segments)
    return "".join(f"{_flat(label(who))}: {text}\n" if who else f"{text}\n" for who, text in lines if text)


def srt(transcript: Transcript, label: Label = _ENGLISH, *, prefix: str = BRACKETED) -> str:
    """SubRip: numbered cues, a comma before the milliseconds. Where speakers are known, `label` says who speaks, and
    `prefix` how a cue begins with that."""
    blocks = (
        f"{number}\n{_stamp(cue.start, ',')} --> {_stamp(cue.end, ',')}\n{_srt_text(cue)}\n\n"
        for number, cue in enumerate(cues(transcript.segments, label, prefix), start=1)
    )
    return "".join(blocks)


def vtt(transcript: Transcript, label: Label = _ENGLISH) -> str:
    """WebVTT: a header, cues without numbers, a full stop before the milliseconds."""
    blocks = (
        f"{_stamp(cue.start, '.')} --> {_stamp(cue.end, '.')}\n{_vtt_text(cue)}\n\n"
        for cue in cues(transcript.segments, label)
    )
    return "WEBVTT\n\n" + "".join(blocks)


def cues(segments: Iterable[Segment], label: Label = _ENGLISH, prefix: str = BRACKETED) -> list[Cue]:
    """Every segment's cues in order of their starts (people may speak at once); segments without text have none."""
    found = (cue for segment in segments for cue in _segment_cues(segment, label, prefix))
    return sorted(found, key=lambda cue: cue.start)


def _segment_cues(segment: Segment, label: Label, shape: str) -> list[Cue]:
    prefix = shape.format(_flat(label(segment.speaker))) if segment.speaker else ""
    text = _flat(segment.text)
    words = tuple(word for word in segment.words if word.text.strip())
    # Text that was rewritten after recognition (digits for spoken numbers, say) no longer adds up from its words;
    # then the words' times say nothing about where to cut it.
    if not words or _squeezed(join_words(words)) != _squeezed(text):
        return [_cue(segment.start, segment.end, _lines(_units(text), prefix))] if text else []
    groups = [group for run in _runs(words) for group in _groups(run, prefix)]
    drawn = [_cue(group[0].start, group[-1].end, _lines(group, prefix)) for group in groups]
    following = [*drawn[1:], None]
    return [_before(cue, after) for cue, after in zip(drawn, following, strict=True)]


def _cue(start: float, end: float, lines: tuple[str, ...]) -> Cue:
    first = max(0, round(start * 1000))
    return Cue(first, max(first + 1, round(end * 1000)), lines)


def _before(cue: Cue, after: Cue | None) -> Cue:
    """The cue, ending no later than the next one of its segment starts (neighbouring words may overlap a little)."""
    if after is None or not cue.start < after.start < cue.end:
        return cue
    return Cue(cue.start, after.start, cue.lines)


def _runs(words: Sequence[Word]) -> Iterator[tuple[Word, ...]]:
    """Words between long silences."""
    first = 0
    for index in range(1, len(words)):
        if words[index].start - words[index - 1].end > PAUSE_SECONDS:
            yield tuple(words[first:index])
            first = index
    yield tuple(words[first:])


def _groups(words: tuple[Word, ...], prefix: str) -> Iterator[tuple[Word, ...]]:
    """Words of one cue each."""
    first = 0
    while first < len(words):
        count = _fitting(words, first, prefix)
        if first + count < len(words):
            count = _breath(words, first, count)
        yield words[first : first + count]
        first += count


def _fitting(words: tuple[Word, ...], first: int, prefix: str) -> int:
    """How many words from `first` on fit in one cue: at least one, however long it is."""
    filled, second_line = _width(prefix) + _width(words[first].text), False
    for index in range(first + 1, len(words)):
        word = words[index]
        if word.end - words[first].start > MAX_CUE_SECONDS:
            return index - first
        wider = filled + word.space_before + _width(word.text)
        if wider > LINE_WIDTH:
            if second_line:
                return index - first
            second_line, wider = True, _width(word.text)
        filled = wider
    return len(words) - first


def _breath(words: tuple[Word, ...], first: int, count: int) -> int:
    """Where to end a cue that cannot hold all: after a sentence, a clause, or so that no crumb is left over."""
    for ends, least in ((_SENTENCE_ENDS, count // 3), (_CLAUSE_ENDS, count // 2)):
        for shorter in range(count, max(least, 1) - 1, -1):
            if _ends_with(words[first + shorter - 1].text, ends):
                return shorter
    left = len(words) - first
    return (left + 1) // 2 if left - count < count // 2 else count


def _ends_with(text: str, ends: frozenset[str]) -> bool:
    bare = text.rstrip(_CLOSING + " ")
    return bool(bare) and bare[-1] in ends


def _lines(words: Sequence[Word], prefix: str) -> tuple[str, ...]:
    """One line, or two of like length, preferably broken after punctuation; one long line where two are not enough."""
    whole = prefix + _joined(words)
    if not LINE_WIDTH < _width(whole) <= 2 * LINE_WIDTH:
        return (whole,)
    best: tuple[float, tuple[str, ...]] = (float("inf"), ())
    for index in range(1, len(words)):
        upper, lower = prefix + _joined(words[:index]), _joined(words[index:])
        longer, shorter = sorted((_width(upper), _width(lower)), reverse=True)
        if longer > LINE_WIDTH:
            continue
        breathes = _ends_with(words[index - 1].text, _SENTENCE_ENDS | _CLAUSE_ENDS)
        cost = longer - shorter - (LINE_WIDTH / 3 if breathes else 0)
        if cost < best[0]:
            best = (cost, (upper, lower))
    return best[1] or (whole,)


def _joined(words: Sequence[Word]) -> str:
    return _flat(join_words(tuple(words)))


def _units(text: str) -> tuple[Word, ...]:
    """Text without word times in the units a line may be broken between."""
    return tuple(Word(match["text"], 0.0, 0.0, space_before=bool(match["space"])) for match in _UNITS.finditer(text))


def _width(text: str) -> float:
    """How much of a line a text takes, in Latin characters."""
    return sum(map(_character_width, text))


def _character_width(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return WIDE_CHARACTER
    return 0.0 if unicodedata.category(character) in _INVISIBLE else 1.0


def _flat(text: str) -> str:
    """Text on one line: a blank line inside a cue would end it, and control characters end nothing well."""
    visible = "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)
    return " ".join(visible.split())


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _stamp(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"


def _srt_text(cue: Cue) -> str:
    # SubRip has no escapes; its one forbidden mark is the arrow between times.
    return re.sub(r"-{2,}>", "->", "\n".join(cue.lines))


def _vtt_text(cue: Cue) -> str:
    return "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
