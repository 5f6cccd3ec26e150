"""The protocols of engines that work while somebody is still speaking: text that grows, and marks in such text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from app.domain.engines import Samples


class RecognizerStream(Protocol):
    """One utterance while it is being spoken. One caller at a time; it belongs to that utterance alone."""

    def push(self, samples: Samples, *, last: bool = False) -> str:
        """The text of all that was heard so far, after more sound: float32 mono 16 kHz samples in [-1, 1], any number
        of them. Blocking.

        Text only grows: each begins with the one before it. `last` ends the utterance, so that its text is whole; no
        silence need follow the speech, and nothing may be pushed afterwards.

        Raises:
            EngineFailure: the model failed; the stream is of no further use.
        """
        ...


class StreamingRecognizer(Protocol):
    """Speech to text while it is spoken. Called from several threads at once; what an utterance needs is its stream's.

    Texts carry no marks, and numbers are words.
    """

    @property
    def id(self) -> str:
        """The catalog id of the model."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """ISO-639 codes of the languages it knows."""
        ...

    @property
    def chunk_seconds(self) -> float:
        """How much sound it waits for: text can grow whenever so much more has been pushed."""
        ...

    def open(self) -> RecognizerStream:
        """A stream for one utterance."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """The unfinished sentence, for the session to keep between calls; empty at the start.

    `words` has for each word the ids of its tokens that are not final: none for white space.
    """

    words: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Marked:
    """What follows each held word and then each new one: "" or one of the full-width marks ， 。 ？ 、.

    The first `final` of them stay as they are; the others are the words of `held`, and come again with the next call.
    """

    marks: tuple[str, ...]
    final: int
    held: Held


class LivePunctuator(Protocol):
    """Puts marks into text that is still being spoken. Called from several threads at once; keeps no state between
    calls."""

    @property
    def id(self) -> str:
        """The catalog id of the model."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """ISO-639 codes of the languages it knows."""
        ...

    def marks(self, words: Sequence[str], held: Held) -> Marked:
        """The marks of the words that `held` has and of new `words`, between which the speaker paused. Blocking.

        `words` are single characters of languages written without spaces, whole words of others. No end is forced: the
        last word has whatever mark is likeliest so far, which is never final.

        Raises:
            EngineFailure: the model failed.
        """
        ...
