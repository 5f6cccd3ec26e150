"""What a finished recording is: words in segments in one transcript, times in absolute seconds of the recording."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from app.domain.hotwords import HotwordHit
from app.domain.speakers import Speaker


@dataclass(frozen=True, slots=True)
class Word:
    """One word (one character in languages written without spaces), punctuation attached.

    `start` and `end` are seconds; `confidence` is a probability in 0..1; `space_before` says whether a space
    stands between it and the word before when words are joined back to text. `tokens` are the recogniser's own ids.
    `speaker` is None where speakers were not told apart.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None
    space_before: bool = True
    tokens: tuple[int, ...] = ()
    speaker: Speaker | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One decoded token: its text (U+FFFD inside a character), its UTF-8 bytes, its natural-log probability."""

    token: str
    utf8: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech that reads as one: a sentence or a part of one.

    The figures are the recogniser's own for the piece this segment was cut from (None where it has none).
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    speaker: Speaker | None = None
    tokens: tuple[int, ...] = ()
    temperature: float | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None
    logprobs: tuple[TokenLogprob, ...] = ()

    def scaled(self, factor: float) -> Segment:
        """With all times multiplied by `factor`: the container's clock instead of the sound's."""
        if factor == 1.0:
            return self
        words = tuple(replace(word, start=word.start * factor, end=word.end * factor) for word in self.words)
        return replace(self, start=self.start * factor, end=self.end * factor, words=words)


@dataclass(frozen=True, slots=True)
class Spoken:
    """The next stretch of a transcript's text, ahead of the segments that it is in.

    All of them together are `Transcript.text` to the letter: a stream has all of its text this way, or none of it.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the work was: seconds of audio, and the recogniser's token counts where it has tokens."""

    audio_seconds: float
    audio_tokens: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole recording. `language` is an ISO-639 code ("zh"), None when nothing was said and none was given.

    `text` is what the segments say, joined as the language is written. `model` is the id of the model that spoke.
    `speakers` are in the order in which they are first heard; empty where they were not told apart.
    `warnings` name what a reader should know ("audio_truncated", "repetition_cut"). `hotwords` are the caller's terms
    that stand in it.
    """

    text: str
    language: str | None
    duration: float
    model: str
    segments: tuple[Segment, ...] = ()
    usage: Usage = field(default_factory=lambda: Usage(0.0))
    warnings: tuple[str, ...] = ()
    speakers: tuple[Speaker, ...] = ()
    hotwords: tuple[HotwordHit, ...] = ()

    @property
    def words(self) -> tuple[Word, ...]:
        """All words in order."""
        return tuple(word for segment in self.segments for word in segment.words)


def join_words(words: tuple[Word, ...]) -> str:
    """Text of consecutive words, spaced as they were recognised."""
    return "".join((" " if word.space_before else "") + word.text for word in words).strip()


def separator(before: str, after: str) -> str:
    """What stands between two stretches of text that were recognised separately: a space, or nothing.

    Nothing at the beginning, and nothing after a Chinese or Japanese mark; a space elsewhere, also between Chinese
    phrases that carry no mark, where a reader would otherwise miss the pause.
    """
    if not before or not after:
        return ""
    return "" if before[-1] in _WIDE_MARKS else " "


def join_texts(texts: Iterable[str]) -> str:
    """Stretches of text as one, with `separator` between them; empty ones are left out."""
    joined = ""
    for text in texts:
        joined += separator(joined, text) + text
    return joined


_WIDE_MARKS = frozenset("。！？，、；：…”’」』）》】")
