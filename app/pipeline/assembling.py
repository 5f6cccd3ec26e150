"""From what was heard in pieces to segments that read as sentences, with times of the whole recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.domain.engines import Hypothesis, SpeechSpan
from app.domain.transcript import Segment, TokenLogprob, Word, join_words
from app.pipeline.segmentation import Cut

_SENTENCE_ENDS = frozenset(".?!。？！…")
_CLOSING = "\"'”’)]）】」』"
_ABBREVIATIONS = frozenset({"mr.", "mrs.", "ms.", "dr.", "st.", "prof.", "vs.", "no.", "jr.", "sr."})
_PAUSE = 0.8
"""Seconds of silence after which a new segment begins even without a full stop."""
_SHORTEST_WORD = 0.02


def segments(piece: Cut, heard: Hypothesis) -> list[Segment]:
    """A piece's segments, cut at sentence ends and pauses; one segment without words if no times were asked for."""
    if not heard.text:
        return []
    whole = Segment(
        start=piece.spans[0].start,
        end=piece.spans[-1].end,
        text=heard.text,
        tokens=heard.tokens,
        temperature=heard.temperature,
        avg_logprob=heard.avg_logprob,
        compression_ratio=heard.compression_ratio,
        no_speech_prob=heard.no_speech_prob,
        logprobs=heard.logprobs,
    )
    if not heard.words:
        return [whole]
    made: list[Segment] = []
    spoken_tokens = 0
    for words in _sentences(_placed(piece, heard.words)):
        count = sum(len(word.tokens) for word in words)
        made.append(
            replace(
                whole,
                start=words[0].start,
                end=words[-1].end,
                text=join_words(tuple(words)),
                words=tuple(words),
                tokens=tuple(token for word in words for token in word.tokens),
                logprobs=_slice(heard.logprobs, spoken_tokens, count),
            )
        )
        spoken_tokens += count
    return made


def _slice(logprobs: Sequence[TokenLogprob], first: int, count: int) -> tuple[TokenLogprob, ...]:
    return tuple(logprobs[first : first + count])


def _placed(piece: Cut, words: Sequence[Word]) -> list[Word]:
    """Words in absolute seconds, in order, moved out of the pauses that speech detection found inside the piece."""
    placed: list[Word] = []
    clock = piece.start
    for word in words:
        start, end = _spoken(piece.start + word.start, piece.start + word.end, piece.spans)
        start = min(max(start, clock), piece.end)
        end = min(max(end, start + _SHORTEST_WORD), piece.end)
        placed.append(replace(word, start=start, end=end))
        clock = end
    return placed


def _spoken(start: float, end: float, spans: Sequence[SpeechSpan]) -> tuple[float, float]:
    """The part of a word that lies in speech; the word as it is if none does."""
    best = max(spans, key=lambda span: min(end, span.end) - max(start, span.start))
    inside = max(start, best.start), min(end, best.end)
    return inside if inside[1] > inside[0] else (start, end)


def _sentences(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Runs of words that read as one."""
    run: list[Word] = []
    for word in words:
        if run and (_ends_sentence(run[-1]) or word.start - run[-1].end >= _PAUSE):
            yield run
            run = []
        run.append(word)
    if run:
        yield run


def _ends_sentence(word: Word) -> bool:
    bare = word.text.rstrip(_CLOSING)
    return bool(bare) and bare[-1] in _SENTENCE_ENDS and bare.lower() not in _ABBREVIATIONS
