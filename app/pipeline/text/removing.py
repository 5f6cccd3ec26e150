"""Text without what is removed from it: no marks and spaces are left that had to do with it."""

from __future__ import annotations

import re
from collections.abc import Sequence

_GONE = "\0"
_ENDS = ".?!。？！…"
_PAUSES = re.escape(_ENDS + ",;:，、；：")
_SPACE = r"[^\S\n]"
_AROUND = re.compile(rf"(?:{_SPACE}|[{_PAUSES}])*{_GONE}(?:{_SPACE}|[{_PAUSES}{_GONE}])*")
"""Removed characters with all marks and spaces beside and between them."""
_NOTHING = rf"{_SPACE}*{_GONE}(?:{_SPACE}|[{_PAUSES}{_GONE}])*"
_QUOTED = re.compile(rf"[“‘「『(（《【\[]{_NOTHING}[”’」』)）》】\]]|\"{_NOTHING}\"|(?<!\w)'{_NOTHING}'(?!\w)")
_BESIDE = re.compile(rf"\s*{_GONE}[\s{_GONE}]*")
"""Removed characters with all spaces beside and between them."""
_LAST_SPACE = re.compile(rf"\s*[{_PAUSES}]|\s*$")


def removed(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """What each character of the text becomes, itself or "", when what stands at `spans` is removed.

    Of the marks around it, one is left: what ends a sentence, if one does. None is left at the beginning of a line,
    and no quotation marks around nothing.
    """
    signs = list(text)
    for start, end in spans:
        signs[start:end] = [sign if sign == "\n" else _GONE for sign in text[start:end]]
    marked = "".join(signs)
    for quoted in _QUOTED.finditer(marked):
        signs[quoted.start() : quoted.end()] = [_GONE] * len(quoted[0])
    marked = "".join(signs)
    for around in _AROUND.finditer(marked):
        start, end = around.span()
        kept = _kept(marked[start:end], first=_edge(marked, start - 1), last=_edge(marked, end))
        signs[start:end] = [sign if place in kept else "" for place, sign in enumerate(signs[start:end])]
    return signs


def spaced(signs: Sequence[str]) -> str:
    """What characters became, "" those that were removed, as text without the spaces that had to do with these."""
    marked = "".join(sign or _GONE for sign in signs)

    def space(beside: re.Match[str]) -> str:
        if not beside.start() or _LAST_SPACE.match(marked, beside.end()):
            return ""
        return next((sign for sign in beside[0] if sign != _GONE), "")

    return _BESIDE.sub(space, marked)


def _kept(around: str, *, first: bool, last: bool) -> set[int]:
    """Which characters stay: a mark and a space, at most. `first` and `last`: nothing of the line is before, after."""
    if first:
        return set()
    marks = [place for place, sign in enumerate(around) if sign != _GONE and not sign.isspace()]
    ends = [place for place in marks if around[place] in _ENDS]
    mark = (ends or marks or [-1])[-1]
    spaces = (place for place, sign in enumerate(around) if place > mark and sign.isspace())
    space = -1 if last else next(spaces, -1)
    return {mark, space} - {-1}


def _edge(text: str, place: int) -> bool:
    return not 0 <= place < len(text) or text[place] == "\n"
