"""Text that grows and is never taken back: what to add, where a client only appends."""

from __future__ import annotations

import re

_WIDE = "\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = rf"(?=\w)[{_WIDE}]|\d|(?:(?![{_WIDE}])[^\W\d_])+(?:['’](?:(?![{_WIDE}])[^\W\d_])+)*"
_TOKEN = re.compile(_WORD)
_ENGLISH_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion point
"""
_NUMBER = (
    r"(?:百分之)?[\d零〇一二三四五六七八九十百千万亿两点]+(?:[.,:]\d+)*[%％]?"
    rf"|\b(?:{'|'.join(_ENGLISH_NUMBERS.split())})\b(?:[ -](?:{'|'.join(_ENGLISH_NUMBERS.split())})\b)*"
)
_PART = rf"(?=\w)[{_WIDE}]|\d|['’]?(?:(?![{_WIDE}])[^\W\d_])+"
_UNIT = re.compile(rf"(?P<number>{_NUMBER})|{_PART}", re.IGNORECASE)
"""What is compared: of "I'm" each part, as it may have been told as "I am"."""
_LEADING_MARKS = re.compile(r"^[^\w\s]+")


def tokens(text: str) -> list[re.Match[str]]:
    """The words of a text, each with its place: runs of letters, single digits, single Chinese and Japanese
    characters. Marks are none."""
    return list(_TOKEN.finditer(text))


def missing(said: str, final: str) -> str:
    """What to append to `said` so that it reads like `final` as nearly as it can.

    Where `said` is not how `final` begins, it stands for the beginning of `final` that it is most like, word by word
    and whatever the marks and capitals; of several, for the longest: a word that was misheard stands for the right one.
    Numbers are all alike: what was said in words may be written in digits.
    """
    if final.startswith(said):
        return final[len(said) :]
    whole = list(_UNIT.finditer(final))
    count = _covered([_plain(unit) for unit in _UNIT.finditer(said)], [_plain(unit) for unit in whole])
    rest = final[whole[count - 1].end() if count else 0 :]
    if said and not said[-1].isalnum():
        rest = _LEADING_MARKS.sub("", rest)
        return rest.lstrip() if said[-1].isspace() else rest
    return rest


def _plain(unit: re.Match[str]) -> str:
    return "#" if unit["number"] else unit[0].casefold()


def _covered(said: list[str], final: list[str]) -> int:
    """How many words of `final` all those of `said` stand for: the prefix with the least edits (Levenshtein)."""
    same = 0
    while same < min(len(said), len(final)) and said[same] == final[same]:
        same += 1
    said, final = said[same:], final[same:]
    if not said:
        return same
    row = list(range(len(final) + 1))
    for word in said:
        diagonal, row[0] = row[0], row[0] + 1
        for place, other in enumerate(final, 1):
            diagonal, row[place] = row[place], min(diagonal + (word != other), row[place] + 1, row[place - 1] + 1)
    least = min(row)
    return same + max(place for place, cost in enumerate(row) if cost == least)
