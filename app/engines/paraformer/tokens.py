"""Paraformer's tokens: Chinese characters, English words and parts of words (ending in @@), and how text is made of
them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.domain.errors import EngineFailure

_PART = "@@"
_SPECIAL = ("<blank>", "<s>", "</s>", "<unk>", "<OOV>")


@dataclass(frozen=True, slots=True)
class Spelled:
    """A word and the positions of its tokens among those it was made of: [first, last)."""

    text: str
    first: int
    last: int

    @property
    def latin(self) -> bool:
        """Whether a space stands between it and another such word."""
        return is_latin(self.text)


class Tokens:
    """The vocabulary. Thread-safe.

    Raises:
        EngineFailure: it lacks what every vocabulary has.
    """

    def __init__(self, tokens: Sequence[str], spellings: Mapping[str, tuple[str, ...]]) -> None:
        self.all = tuple(tokens)
        self._ids = {token: number for number, token in enumerate(tokens)}
        self._spellings = spellings
        missing = [token for token in ("<s>", "</s>", "<unk>") if token not in self._ids]
        if missing:
            raise EngineFailure(f"tokens.json has no {', '.join(missing)}.")
        self.start, self.end = self._ids["<s>"], self._ids["</s>"]
        self._silent = frozenset(self._ids[token] for token in _SPECIAL if token in self._ids)
        self.unheard = frozenset(self._ids[token] for token in ("<blank>", "<s>", "</s>") if token in self._ids)

    def __len__(self) -> int:
        return len(self.all)

    def words(self, ids: Sequence[int]) -> list[Spelled]:
        """Words in order: a Chinese character each, English words joined from their parts, letters said one by one
        joined to an abbreviation (a p p: APP). Special tokens are no words."""
        return list(_with_abbreviations(self._joined(ids)))

    def _joined(self, ids: Sequence[int]) -> Iterator[Spelled]:
        first, text = 0, ""
        for place, number in enumerate(ids):
            if number in self._silent:
                continue
            token = self.all[number]
            if text and not token.isascii():  # a part that nothing followed
                yield Spelled(text, first, place)
                text = ""
            if not text:
                first = place
            text += token.removesuffix(_PART)
            if not token.endswith(_PART):
                yield Spelled(text, first, place + 1)
                text = ""
        if text:
            yield Spelled(text, first, len(ids))

    def spell(self, term: str) -> tuple[int, ...] | None:
        """The tokens a term is written with; None where it holds a character or word the vocabulary lacks."""
        spelled: list[str] = []
        for word in _parts(term):
            if word in self._spellings:
                spelled += self._spellings[word]
            elif word in self._ids:
                spelled.append(word)
            else:
                return None
        ids = [self._ids.get(token) for token in spelled]
        known = tuple(number for number in ids if number is not None and number not in self._silent)
        return known if known and len(known) == len(ids) else None


def is_latin(text: str) -> bool:
    """Whether text is written with spaces between words: ASCII letters in it, and no digits only."""
    return text.isascii() and any(character.isalpha() for character in text)


def _with_abbreviations(words: Iterator[Spelled]) -> Iterator[Spelled]:
    letters: list[Spelled] = []
    for word in words:
        if len(word.text) == 1 and is_latin(word.text):
            letters.append(word)
            continue
        yield from _abbreviated(letters)
        letters = []
        yield word
    yield from _abbreviated(letters)


def _abbreviated(letters: list[Spelled]) -> list[Spelled]:
    if len(letters) < 2:
        return letters
    return [Spelled("".join(letter.text for letter in letters).upper(), letters[0].first, letters[-1].last)]


def _parts(term: str) -> Iterator[str]:
    """Characters of languages written without spaces, lower-case words of others."""
    word = ""
    for character in term.lower():
        if character.isascii() and not character.isspace():
            word += character
            continue
        if word:
            yield word
            word = ""
        if not character.isspace():
            yield character
    if word:
        yield word
