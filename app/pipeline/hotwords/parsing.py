"""Hotwords in all the shapes callers send them in: weighted or plain, spaced, listed, a file's lines, JSON.

The rules that tell them apart stand in docs/hotwords.md.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from app.domain.errors import InvalidHotwords
from app.domain.hotwords import Hotword
from app.pipeline.hotwords.units import units_of
from app.pipeline.text.bounds import most_commas, most_said

LONGEST_TERM = 200
"""Characters."""

_LIGHTEST, _HEAVIEST = 0.001, 1000.0

_SEPARATORS = re.compile(r"[\r\n,，、;；]+")
_COMMAS = re.compile(r"[,，、;；]")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_NAMES = ("text", "word", "term")
_KNOWN = {*_NAMES, "weight", "lang"}
_SHAPES = 'send terms separated by commas or lines, "term weight term weight", or JSON such as {"term": 20}'


class _Said(NamedTuple):
    term: str
    weight: float | None = None


class _Unclear(Exception):  # noqa: N818 - becomes InvalidParameter where the field's name is known
    pass


def parse_hotwords(said: str, *, param: str, most: int) -> tuple[Hotword, ...]:
    """The terms of one field's value, in order, each once; weights are relative to the list's median.

    Raises:
        InvalidParameter: `param` is what cannot be read, has a senseless weight, or more than `most` terms.
    """
    return read_hotwords((said,), param=param, most=most)


def read_hotwords(items: Sequence[str], *, param: str, most: int, apart: bool = False) -> tuple[Hotword, ...]:
    """The terms of a field that may be repeated: of two or more items, one without separators is one term.

    `apart`: that holds for a single item, too, as where a client sends a list as repeated fields.

    Raises:
        InvalidParameter: as `parse_hotwords`.
    """
    try:
        given = [item for item in items if item.strip(" \t\r\n\ufeff")]
        several = apart or len(given) > 1
        return _hotwords(_items(given, most) if several else _parsed(given[0], most) if given else [], most)
    except _Unclear as unclear:
        raise InvalidHotwords(f"{param}: {unclear}", param=param) from None


def _items(given: Sequence[str], most: int) -> list[_Said]:
    """Several items: what is no list of its own is a line among lines."""
    _check_number(len(given), most)
    found: list[_Said] = []
    lines: list[str] = []
    for item in given:
        if _is_json(item) or _SEPARATORS.search(item.strip()) or _pairs(_tokens(item, most), least=2):
            found += _lines(lines)
            lines = []
            found += _parsed(item, most)
            _check_number(len(found), most)
        else:
            lines.append(item)
    return found + _lines(lines)


def _parsed(said: str, most: int) -> list[_Said]:
    """The terms of one text. Far more than `most` are not even parted: that would take a while, and much memory."""
    said = said.strip(" \t\r\n\ufeff")
    if _is_json(said):
        if said.count(",") > most_commas(most):
            raise _far_too_many(most)
        return _from_json(said)
    if _SEPARATORS.search(said):
        parts = _SEPARATORS.split(said, maxsplit=most_said(most))
        _check_number(len(parts), most)
        return _lines([part for part in parts if part.strip()], commas=_COMMAS.search(said) is not None)
    return _spaced(_tokens(said, most))


def _tokens(said: str, most: int) -> list[str]:
    tokens = said.split(None, 2 * most_said(most))  # terms and weights
    if len(tokens) > 2 * most_said(most):
        raise _far_too_many(most)
    return tokens


def _check_number(terms: int, most: int) -> None:
    """Raises _Unclear where it is not worth looking at so many, of which `most` may be kept."""
    if terms > most_said(most):
        raise _far_too_many(most)


def _far_too_many(most: int) -> _Unclear:
    return _Unclear(f"far more terms, repeated ones included, than the {most:,} there may be")


def _spaced(tokens: Sequence[str]) -> list[_Said]:
    pairs = _pairs(tokens, least=1)
    if pairs:
        return pairs
    if any(_NUMBER.fullmatch(token) for token in tokens[1:]):
        raise _Unclear(
            "some words are followed by a weight and some are not; give each a weight or none, and separate terms that "
            "contain numbers by commas or lines"
        )
    return [_Said(token) for token in tokens]


def _pairs(tokens: Sequence[str], *, least: int) -> list[_Said]:
    """`word weight word weight ...`; empty where it is not that throughout."""
    words, weights = tokens[::2], tokens[1::2]
    if len(words) != len(weights) or len(words) < least:
        return []
    if not all(_weighs(token) for token in weights) or any(_NUMBER.fullmatch(token) for token in words):
        return []
    if not any(_NUMBER.fullmatch(token) for token in weights):
        return []
    return [_Said(word, _weight(weight)) for word, weight in zip(words, weights, strict=True)]


def _lines(lines: Sequence[str], *, commas: bool = False) -> list[_Said]:
    """Terms that may contain spaces: with weights where each ends in one.

    Between commas also only where all terms differ: "iPhone 15, iPhone 16" are two names.
    """
    split = [line.rsplit(None, 1) for line in lines]
    weighted = all(len(parts) == 2 and _weighs(parts[1]) for parts in split)
    if not (weighted and any(_NUMBER.fullmatch(parts[1]) for parts in split)):
        return [_Said(line) for line in lines]
    if commas and len({parts[0].strip().casefold() for parts in split}) < len(split):
        return [_Said(line) for line in lines]
    return [_Said(parts[0], _weight(parts[1])) for parts in split]


def _is_json(said: str) -> bool:
    return said.lstrip(" \t\r\n\ufeff").startswith(("{", "["))


def _from_json(said: str) -> list[_Said]:
    try:
        # Pairs instead of objects: a name that stands twice keeps its heavier weight.
        value = json.loads(said, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        raise _Unclear(f"begins like JSON but is none; {_SHAPES}") from None
    if isinstance(value, _Pairs):
        return [_entry(value)] if any(name in _NAMES and isinstance(it, str) for name, it in value) else _weights(value)
    return [_Said(item) if isinstance(item, str) else _entry(item) for item in cast("list[Any]", value)]


class _Pairs(tuple[tuple[str, Any], ...]):
    __slots__ = ()


def _weights(pairs: _Pairs) -> list[_Said]:
    return [_Said(term, _weight(weight)) for term, weight in pairs]


def _entry(value: Any) -> _Said:
    if not isinstance(value, _Pairs):
        raise _Unclear('a list may hold terms and objects such as {"text": "term", "weight": 3}, nothing else')
    fields = dict(value)
    unknown = sorted(set(fields) - _KNOWN)
    if unknown:
        raise _Unclear(f"an entry has {unknown[0][:40]!r}, which means nothing here; it may have text and weight")
    names = [name for name in _NAMES if name in fields]
    if len(names) != 1 or not isinstance(fields[names[0]], str):
        raise _Unclear('an entry needs its term as a string, such as {"text": "term", "weight": 3}')
    return _Said(fields[names[0]], _weight(fields["weight"]) if fields.get("weight") is not None else None)


def _weighs(token: str) -> bool:
    return (_NUMBER.fullmatch(token) or _NO_NUMBER.fullmatch(token)) is not None


def _weight(given: Any) -> float:
    """Raises _Unclear unless it is positive and finite."""
    usable = isinstance(given, (int, float)) and not isinstance(given, bool)
    usable = usable or (isinstance(given, str) and _weighs(given.strip()))
    try:
        weight = float(given) if usable else math.nan
    except OverflowError:
        weight = math.inf
    if not (math.isfinite(weight) and weight > 0):
        raise _Unclear("a weight is not a positive number; leave it out, or send one such as 20")
    return weight


def _hotwords(said: Sequence[_Said], most: int) -> tuple[Hotword, ...]:
    """Checked, each term once. Weights are divided by their median: scales differ (FunASR 1..100, Alibaba 1..5)."""
    _check_number(len(said), most)
    entries = [_Said(_term(entry.term), entry.weight) for entry in said]
    given = [entry.weight for entry in entries if entry.weight is not None]
    usual = statistics.median(given) if given else 1.0
    kept: dict[str, Hotword] = {}
    for term, weight in entries:
        relative = 1.0 if weight is None else min(max(weight / usual, _LIGHTEST), _HEAVIEST)
        before = kept.get(term.casefold())
        kept[term.casefold()] = Hotword(
            before.text if before else term, max(relative, before.weight) if before else relative
        )
    if len(kept) > most:
        raise _Unclear(f"{len(kept):,} terms are more than the {most:,} there may be")
    return tuple(kept.values())


def _term(said: str) -> str:
    """One term, tidied: composed characters, single spaces, no control characters."""
    plain = said
    if not said.isprintable():  # hardly ever, and looking every character up is slow
        kinds = ((sign, unicodedata.category(sign)) for sign in said)
        plain = "".join(" " if kind == "Cc" else "" if kind == "Cf" else sign for sign, kind in kinds)
    term = " ".join(unicodedata.normalize("NFC", plain).split())
    if len(term) > LONGEST_TERM:
        raise _Unclear(f"a term of {len(term):,} characters; {LONGEST_TERM} is the longest there may be")
    half = not term.isprintable() and any(unicodedata.category(sign) == "Cs" for sign in term)
    if half or not units_of(term):
        raise _Unclear(
            f"{term[:20].encode('ascii', 'backslashreplace').decode()!r} is no term: it has no word; {_SHAPES}"
        )
    return term
