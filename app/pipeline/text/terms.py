"""Terms as callers send them, to be looked for in text: read, tidied, each once."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import cast

from app.domain.errors import InvalidParameter
from app.pipeline.hotwords.units import units_of
from app.pipeline.text.bounds import most_commas, most_said

LONGEST_TERM = 200
"""Characters."""
_SEPARATORS = re.compile(r"[\r\n,，、;；]+")


def split_terms(said: str, *, param: str, most: int | None = None) -> list[str]:
    """The terms in a string: a JSON array, or terms with commas, semicolons or line ends between them. (Spaces do not
    part them.) Where `most` of them may be kept, far more are not even parted.

    Raises:
        InvalidParameter: it begins like JSON and is no array of strings, or has far too many. The message repeats
            nothing.
    """
    plain = said.strip(" \t\r\n\ufeff")
    if not plain.startswith(("[", "{")):
        parts = _SEPARATORS.split(plain, maxsplit=0 if most is None else most_said(most))
        if most is not None:
            check_number(len(parts), param=param, most=most)
        return [part for part in parts if part.strip()]
    if most is not None and plain.count(",") > most_commas(most):
        raise _far_too_many(param, most)
    try:
        parsed: object = json.loads(plain)
    except (ValueError, RecursionError):  # without a cause: it would repeat what was sent in the log
        parsed = None
    items = cast("list[object]", parsed) if isinstance(parsed, list) else [None]
    if not all(isinstance(item, str) for item in items):
        raise InvalidParameter(f"{param} begins like JSON and is no array of strings.", param=param)
    return cast("list[str]", items)


def check_number(terms: int, *, param: str, most: int) -> None:
    """That it is worth looking at so many `terms`, of which `most` may be kept.

    Raises:
        InvalidParameter: it is not.
    """
    if terms > most_said(most):
        raise _far_too_many(param, most)


def read_terms(terms: Sequence[str], *, param: str, most: int) -> tuple[str, ...]:
    """The terms, tidied: composed characters, single spaces, no control characters; each once, whatever its case.

    Raises:
        InvalidParameter: there are more than `most`, or one is too long, or has no letter, digit or character that
            could be said. The message says which, and does not repeat it.
    """
    check_number(len(terms), param=param, most=most)
    kept: dict[str, str] = {}
    for number, said in enumerate(terms, start=1):
        term = _tidied(said)
        if len(term) > LONGEST_TERM:
            told = f"{param}: term {number} has {len(term):,} characters; {LONGEST_TERM} is the most."
            raise InvalidParameter(told, param=param)
        if not units_of(term) or any(unicodedata.category(sign) == "Cs" for sign in term):
            raise InvalidParameter(f"{param}: term {number} has no word or character to look for.", param=param)
        kept.setdefault(term.casefold(), term)
    if len(kept) > most:
        told = f"{param}: {len(kept):,} terms are more than the {most:,} there may be (MAX_HOTWORDS)."
        raise InvalidParameter(told, param=param)
    return tuple(kept.values())


def _far_too_many(param: str, most: int) -> InvalidParameter:
    told = f"{param}: far more terms, repeated ones included, than the {most:,} there may be (MAX_HOTWORDS)."
    return InvalidParameter(told, param=param)


def _tidied(said: str) -> str:
    return " ".join(unicodedata.normalize("NFC", "".join(_plain(said))).split())


def _plain(said: str) -> Iterable[str]:
    if said.isprintable():  # hardly ever otherwise, and looking every character up is slow
        return said
    kinds = ((sign, unicodedata.category(sign)) for sign in said)
    return (" " if kind == "Cc" else "" if kind == "Cf" else sign for sign, kind in kinds)
