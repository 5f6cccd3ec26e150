"""From what a recogniser heard to text as a reader expects it: hotwords mended, marks set, numbers in digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from app.domain.engines import Capabilities, Hypothesis, Punctuator
from app.domain.hotwords import Hotword
from app.domain.options import RecognitionOptions
from app.domain.transcript import Word, join_words
from app.pipeline.chinese import ChineseWriting
from app.pipeline.text.numbers import NumberWriting
from app.pipeline.text.punctuation import punctuated, split, unpunctuated

if TYPE_CHECKING:
    from app.pipeline.hotwords.correction import Corrector

Words = tuple[Word, ...]

_KEPT = 16
"""Lists of hotwords that are kept indexed: thousands of terms take half a second."""


class Correctors:
    """Correctors by their terms and the language of the text, the latest of which are kept. Thread-safe."""

    def __init__(self) -> None:
        self._made = lru_cache(maxsize=_KEPT)(_corrector)

    def of(self, hotwords: tuple[Hotword, ...], language: str) -> Corrector:
        """The corrector towards `hotwords`. Blocking."""
        return self._made(hotwords, language)


def _corrector(hotwords: tuple[Hotword, ...], language: str) -> Corrector:
    from app.pipeline.hotwords.correction import Corrector  # noqa: PLC0415 - its word lists take 80 MB

    return Corrector(hotwords, language=language)


@dataclass(frozen=True, slots=True)
class Writing:
    """What text passes through, whoever recognised it. None: not on this machine, or switched off. Thread-safe."""

    chinese: ChineseWriting
    punctuator: Punctuator | None = None
    numbers: NumberWriting | None = None
    correctors: Correctors | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A piece as it is to be read, and how often each hotword was put into it."""

    hypothesis: Hypothesis
    corrected: Mapping[str, int] = field(default_factory=dict[str, int])


class Writer:
    """Writes the pieces of one request. Blocking, thread-safe."""

    def __init__(self, writing: Writing, options: RecognitionOptions, able: Capabilities) -> None:
        self._writing = writing
        self._options = options
        self._able = able
        self._translated = options.task == "translate"
        self._digits = options.itn if options.itn is not None else not able.writes_numbers

    @property
    def quick(self) -> bool:
        """Whether there is nothing to do that is worth a thread: no marks to set, no numbers, no hotwords."""
        sets_marks = self._options.punctuation and not self._able.punctuates and self._writing.punctuator is not None
        mends = bool(self._options.hotwords) and self._writing.correctors is not None
        return not (sets_marks or mends or (self._digits and self._writing.numbers is not None))

    def written(self, hypothesis: Hypothesis) -> Written:
        """The hypothesis with its text and words rewritten. Words keep their times.

        Raises:
            EngineFailure: the punctuation model failed.
        """
        if not hypothesis.text:
            return Written(hypothesis)
        language = "en" if self._translated else hypothesis.language
        text, words = hypothesis.text, hypothesis.words
        if language == "zh":
            text, words = self._writing.chinese.text(text), self._writing.chinese.words(words)
        timed = words or split(text)
        corrector = self._corrector(language)
        corrected = corrector.correct(timed) if corrector else None
        mended = corrected.words if corrected else timed
        rewritten = self._numbered(self._marked(mended, language), language)
        if rewritten != timed:
            text, words = join_words(rewritten), rewritten if words else ()
        return Written(replace(hypothesis, text=text, words=words), corrected.terms if corrected else {})

    def _corrector(self, language: str) -> Corrector | None:
        correctors, hotwords = self._writing.correctors, self._options.hotwords
        return correctors.of(hotwords, language) if correctors and hotwords and not self._translated else None

    def _marked(self, words: Words, language: str) -> Words:
        if not self._options.punctuation:
            return unpunctuated(words) if self._able.punctuates else words
        punctuator = self._writing.punctuator
        if self._able.punctuates or punctuator is None or language not in punctuator.languages:
            return words
        return punctuated(words, punctuator)

    def _numbered(self, words: Words, language: str) -> Words:
        numbers = self._writing.numbers
        if not self._digits or numbers is None or language not in numbers.languages:
            return words
        return numbers.written(words, language)
