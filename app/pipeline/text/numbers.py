"""Numbers said as words, written in digits (inverse text normalisation), with the words' times kept.

The grammars are WeText's. What they make of a clause is reviewed stretch by stretch: Chinese keeps its own way of
writing dates, times and units (2024年3月5号, not 2024/03/05), and what is no number stays words (十分感谢).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from types import MappingProxyType

from app.domain.transcript import Word, join_words
from app.pipeline.text.punctuation import split

_ZH_NUMERALS = "〇零一二三四五六七八九十百千万亿两幺"
_NUMERALS: MappingProxyType[str, re.Pattern[str]] = MappingProxyType(
    {
        "zh": re.compile(f"[{_ZH_NUMERALS}]"),
        "ja": re.compile(f"[{_ZH_NUMERALS}]"),
        "en": re.compile(
            r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty|hundred|thousand|"
            r"million|billion|half|quarter|dozen|(?:fif|six|seven|eigh|nin|ten|eleven|twelf|four|\w+teen|\w+tie)th)\b",
            re.IGNORECASE,
        ),
    }
)
"""What a clause must have to be looked at."""
_CLAUSE_ENDS = frozenset("，。？！；：,.?!;:")
_RUN = re.compile(f"[{_ZH_NUMERALS}]+")
_SINGLE = MappingProxyType(dict(zip("〇零一二三四五六七八九两幺十", [*"001234567892", "1", "10"], strict=True)))
_DATE_OR_TIME = re.compile(r"[年月点]")
_UNIT = re.compile(r"(?P<number>[-\d.,/]+) ?(?P<unit>[A-Za-z°].*)")
_MEASURED = re.compile(f"负?[{_ZH_NUMERALS}点]+(?P<unit>.+)")
_ABOUT = re.compile(r"[几数好多余]$")
_IDIOMS = re.compile(rf"(?<![{_ZH_NUMERALS}])十分(?![之钟])|十一(?=[长假黄国])|[一二三四五六七八九]点[一三]刻")
"""What looks like a number and is none: "very", the national holiday, and quarters of an hour."""
_LARGE = ((10**8, "亿"), (10**4, "万"))


class NumberWriting:
    """Writes numbers in digits. Thread-safe."""

    languages = frozenset(_NUMERALS)

    def __init__(self) -> None:
        from wetext import Normalizer  # noqa: PLC0415 - half a second, and only where it is wanted

        self._grammars = {language: Normalizer(lang=language, operator="itn") for language in sorted(_NUMERALS)}
        self._lock = threading.Lock()
        for language in self._grammars:
            self._normalised("一", language)  # grammars are read when they are first used

    def written(self, words: Sequence[Word], language: str) -> tuple[Word, ...]:
        """The words with numbers in digits. Words that made a number become one word with all of their time; others
        stay the objects they were."""
        return tuple(word for clause in _clauses(words) for word in self._clause(clause, language))

    def _clause(self, words: list[Word], language: str) -> Iterable[Word]:
        said = join_words(tuple(words))
        if not _NUMERALS[language].search(said):
            return words
        digits = self._normalised(said, language)
        if digits == said:
            return words
        reviewed = "".join(self._reviewed(words, digits, language))
        return (word for some, text in _aligned(words, reviewed) for word in _rewritten(some, text))

    def _reviewed(self, words: list[Word], digits: str, language: str) -> Iterator[str]:
        """The clause's text again: each stretch that the grammars rewrote as it is to be written."""
        place = 0
        said = [word.text for word in words]
        for some, text in _aligned(words, digits):
            before, after = "".join(said[:place]), "".join(said[place + len(some) :])
            spoken = join_words(tuple(some))
            gap = " " if some and some[0].space_before and place else ""
            place += len(some)
            yield gap + (spoken if spoken == text else self._judged(spoken, text, before, after, language))

    def _judged(self, spoken: str, digits: str, before: str, after: str, language: str) -> str:
        if not any(character.isdigit() for character in digits):
            return spoken  # an abbreviation, not a number
        if language == "zh":
            return self._chinese(spoken, digits, before, after)
        if language == "en":
            plain = " " not in spoken and spoken.rstrip("".join(_CLAUSE_ENDS)).lower() not in _PLAIN_ENGLISH
            return spoken if plain else re.sub(r"^0(?=\d:)| (?=[%.,?!;:])", "", digits)
        return digits

    def _chinese(self, spoken: str, digits: str, before: str, after: str) -> str:
        if "~" in digits or _ABOUT.search(before) or _IDIOMS.search(spoken + after[:2]) or after[:1] in {*"几来刻"}:
            return spoken  # 三四个, 几十, 十几, 十来: about so many
        if _DATE_OR_TIME.search(spoken) and ("/" in digits or ":" in digits):
            return _RUN.sub(lambda run: _SINGLE.get(run[0]) or self._normalised(run[0], "zh"), spoken)
        if spoken.rstrip("".join(_CLAUSE_ENDS))[-1:] in "万亿":
            digits = _shortened(digits)
        if (written := _UNIT.fullmatch(digits)) and (measured := _MEASURED.fullmatch(spoken)):
            return written["number"] + measured["unit"]
        return digits

    def _normalised(self, text: str, language: str) -> str:
        with self._lock:
            return str(self._grammars[language].normalize(text))


_PLAIN_ENGLISH = frozenset({"ten", "eleven", "twelve"}) | {
    *(f"{digit}teen" for digit in ("thir", "four", "fif", "six", "seven", "eigh", "nine")),
    *(f"{digit}ty" for digit in ("twen", "thir", "for", "fif", "six", "seven", "eigh", "nine")),
}
"""Single English words that are always numbers; ordinals and small ones often are none."""


def _clauses(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Runs of words up to a mark: a number does not go on behind one."""
    run: list[Word] = []
    for word in words:
        run.append(word)
        if word.text[-1:] in _CLAUSE_ENDS:
            yield run
            run = []
    if run:
        yield run


def _aligned(words: Sequence[Word], text: str) -> list[tuple[list[Word], str]]:
    """Words and what became of them, in order: single words that stayed, and stretches that did not."""
    pieces = split(text)
    matcher = SequenceMatcher(a=[word.text for word in words], b=[piece.text for piece in pieces], autojunk=False)
    pairs: list[tuple[list[Word], str]] = []
    for kind, first, last, begin, end in matcher.get_opcodes():
        if kind == "equal":
            pairs += [([word], word.text) for word in words[first:last]]
            continue
        some, written = list(words[first:last]), join_words(pieces[begin:end])
        if (not some or not written) and pairs:  # nothing to hold on to: one with what stands before
            held, text_before = pairs.pop()
            gap = " " if written and pieces[begin].space_before else ""
            some, written = held + some, text_before + gap + written
        pairs.append((some, written))
    if len(pairs) > 1 and (not pairs[0][0] or not pairs[0][1]):  # at the beginning there is only what comes after
        (some, written), (more, rest) = pairs[0], pairs[1]
        pairs[:2] = [(some + more, written + rest)]
    return pairs


def _rewritten(words: list[Word], text: str) -> list[Word]:
    if len(words) == 1 and words[0].text == text:
        return words
    if not words or not text:
        return words
    sure = [word.confidence for word in words if word.confidence is not None]
    tokens = tuple(token for word in words for token in word.tokens)
    return [replace(words[0], text=text, end=words[-1].end, confidence=min(sure, default=None), tokens=tokens)]


def _shortened(digits: str) -> str:
    """500000 as 50万: as it was said."""
    match = re.match(r"\d+", digits)
    if match is None:
        return digits
    for size, sign in _LARGE:
        if (number := int(match[0])) and number % size == 0:
            return f"{number // size}{sign}{digits[match.end() :]}"
    return digits
