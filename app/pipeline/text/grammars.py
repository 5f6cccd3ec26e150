"""WeText's grammars for numbers, read without the package that carries them: what is a number, and its digits.

Importing wetext reads the grammars of every language in both directions (43 MB, half a second); the four that are used
here take 14 MB and a tenth of a second.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

_TOKEN = re.compile(r'(\w+) \{((?: +\w+: "(?:[^"\\]|\\.)*")*) *\}')
_FIELD = re.compile(r'(\w+): "((?:[^"\\]|\\.)*)"')
_NOT_SAID = frozenset({"preserve_order", "kind", "style"})
"""Fields that say how to write the others."""
_ORDERS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "fraction": ("sign", "numerator", "denominator"),
        "measure": ("numerator", "denominator", "value", "units"),
        "money": ("currency", "value", "decimal", "quantity"),
        "time": ("hour", "minute", "second", "noon", "zone"),
    }
)
"""The order in which the grammar writes fields; others follow."""
_AS_IT_IS = frozenset({"char", "word", "punctuation"})


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a number ("minute") and where in the text it was said."""

    name: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """What the grammar takes for a number of some kind ("time"); `tagged` is in its own notation."""

    kind: str
    fields: tuple[Field, ...]
    tagged: str


class Grammar:
    """One language's. Thread-safe. Raises ImportError where wetext is not installed."""

    def __init__(self, language: str) -> None:
        kaldifst: Any = importlib.import_module("kaldifst")
        found = importlib.util.find_spec("wetext")
        if found is None or found.origin is None:
            raise ImportError("wetext is not installed")
        folder = Path(found.origin).parent / "fsts" / language / "itn"
        self._tagger, self._verbalizer = (
            kaldifst.TextNormalizer(str(folder / f"{name}.fst")) for name in ("tagger", "verbalizer")
        )
        self._lock = threading.Lock()

    def stretches(self, text: str, begin: int, end: int) -> list[Stretch]:
        """Numbers in a part of a text. Places are the text's. Nothing where the grammar gives something else back."""
        with self._lock:
            tagged = str(self._tagger(text[begin:end]))
        try:
            return list(_placed(tagged, text, begin, end))
        except _LostError:
            return []

    def written(self, tagged: str) -> str:
        """A stretch's digits, or "" for what the grammar cannot write."""
        with self._lock:
            return str(self._verbalizer(_TOKEN.sub(_ordered, tagged))).strip()


def _ordered(token: re.Match[str]) -> str:
    order = _ORDERS.get(token[1], ())
    fields = [match[0] for match in _FIELD.finditer(token[2])]
    fields.sort(key=lambda field: order.index(name) if (name := field.split(":")[0]) in order else len(order))
    return f"{token[1]} {{ {' '.join(fields)} }}"


class _LostError(Exception):
    """The grammar changed what was said."""


def _placed(tagged: str, text: str, place: int, end: int) -> Iterator[Stretch]:
    for token in _TOKEN.finditer(tagged):
        fields: list[Field] = []
        for name, value in _FIELD.findall(token[2]):
            said = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
            if name in _NOT_SAID or not said.strip():  # white space is passed over by _found
                continue
            begin, place = _found(said, text, place, end)
            fields.append(Field(name, begin, place))
        if fields and token[1] not in _AS_IT_IS:
            yield Stretch(token[1], tuple(fields), token[0])
    if text[place:end].strip():
        raise _LostError


def _found(said: str, text: str, place: int, end: int) -> tuple[int, int]:
    """Where in the text `said` is next, white space aside."""
    begin = -1
    for character in said:
        if character.isspace():
            continue
        while place < end and text[place].isspace():
            place += 1
        if place >= end or text[place] != character:
            raise _LostError
        begin = place if begin < 0 else begin
        place += 1
    return begin, place
