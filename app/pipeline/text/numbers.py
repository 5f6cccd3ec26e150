"""Numbers said as words, written in digits (inverse text normalisation), with the words' times kept.

WeText's grammars say what is a number; what is made of it is decided here, language by language, and each change is put
exactly where it was said, so that no other word is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType

from app.domain.transcript import Word
from app.pipeline.text import chinese_numbers, english_numbers
from app.pipeline.text.grammars import Grammar

Change = tuple[int, int, str]
_CHANGES: MappingProxyType[str, Callable[[str, Grammar], Iterator[Change]]] = MappingProxyType(
    {"zh": chinese_numbers.changes, "en": english_numbers.changes}
)
"""Japanese is not among them: WeText's grammar writes 千葉県 as 1000葉県 and 第二十三回 as 第213回."""


class NumberWriting:
    """Writes numbers in digits. Thread-safe. Raises ImportError where wetext is not installed."""

    languages = frozenset(_CHANGES)

    def __init__(self) -> None:
        self._grammars = {language: Grammar(language) for language in sorted(_CHANGES)}

    def written(self, words: Sequence[Word], language: str) -> tuple[Word, ...]:
        """The words with numbers in digits. Words that made a number become one word with all of their time; others
        stay the objects they were, and so do all words of a language that is not in `languages`."""
        if language not in self._grammars:
            return tuple(words)
        text, places = _joined(words)
        return _rewritten(words, places, list(_CHANGES[language](text, self._grammars[language])))


def _joined(words: Sequence[Word]) -> tuple[str, list[tuple[int, int]]]:
    """The words' text, and from where to where in it each of them is."""
    text, places = "", list[tuple[int, int]]()
    for word in words:
        text += " " if word.space_before and text else ""
        places.append((len(text), len(text) + len(word.text)))
        text += word.text
    return text, places


def _rewritten(words: Sequence[Word], places: list[tuple[int, int]], changes: list[Change]) -> tuple[Word, ...]:
    result: list[Word] = []
    at = 0
    for begin, end, stretch in _by_words(places, changes):
        result += words[at:begin]
        result.append(_merged(words[begin:end], places[begin:end], stretch))
        at = end
    return (*result, *words[at:])


def _by_words(places: list[tuple[int, int]], changes: Iterable[Change]) -> Iterator[tuple[int, int, list[Change]]]:
    """Changes with the words they touch; those that touch the same word together."""
    word, held = 0, None
    for change in changes:
        while places[word][1] <= change[0]:
            word += 1
        first = word
        while places[word][1] < change[1]:
            word += 1
        if held and first < held[1]:
            held = (held[0], word + 1, [*held[2], change])
            continue
        if held:
            yield held
        held = (first, word + 1, [change])
    if held:
        yield held


def _merged(words: Sequence[Word], places: Sequence[tuple[int, int]], changes: Sequence[Change]) -> Word:
    """One word of several, with what stands around the numbers in them."""
    text, at = "", places[0][0]
    spaced = dict(zip((begin for begin, _ in places), words, strict=True))
    whole = "".join((" " if word.space_before and begin != at else "") + word.text for begin, word in spaced.items())
    for begin, end, digits in changes:
        text += whole[at - places[0][0] : begin - places[0][0]] + digits
        at = end
    text += whole[at - places[0][0] :]
    sure = [word.confidence for word in words if word.confidence is not None]
    return replace(
        words[0],
        text=text,
        start=min(word.start for word in words),
        end=max(word.end for word in words),
        confidence=min(sure, default=None),
        tokens=tuple(token for word in words for token in word.tokens),
    )
