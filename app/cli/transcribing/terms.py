"""The files of terms that a command line names: hotwords, and sensitive words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from app.domain.errors import InvalidParameter
from app.domain.hotwords import Hotword
from app.pipeline.hotwords.parsing import parse_hotwords
from app.pipeline.text import terms

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_SEPARATORS = re.compile(r"[,，、;；{}\[\]]")


def read_hotwords(path: Path, *, most: int) -> tuple[Hotword, ...]:
    """The hotwords of a file: a term in each line, and after it, if wanted, a space and its weight. A number that ends
    a line is a weight, always: a term that ends in one needs a weight, too.

    Raises:
        InvalidParameter: it cannot be read; the message says which line.
    """
    entries: list[dict[str, str]] = []
    for where, line in _lines(path):
        term, *weight = line.rsplit(maxsplit=1)
        weighted = bool(weight) and _NUMBER.fullmatch(weight[0]) is not None
        entries.append({"text": term, "weight": weight[0]} if weighted else {"text": line})
        parse_hotwords(json.dumps(entries[-1:]), param=where, most=1)
    # All in one, because weights are relative to each other.
    return parse_hotwords(json.dumps(entries), param=str(path), most=most) if entries else ()


def read_sensitive(path: Path, *, most: int) -> tuple[str, ...]:
    """The terms of a file of sensitive words: one in each line.

    Raises:
        InvalidParameter: it cannot be read; the message says which line, and repeats no term.
    """
    found: list[str] = []
    for where, line in _lines(path):
        found += terms.read_terms([line], param=where, most=1)
    return terms.read_terms(found, param=str(path), most=most)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Where each line is that says something, and what, without spaces around it.

    Raises:
        InvalidParameter: it cannot be read, or has commas, of which nobody could tell what they mean.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise InvalidParameter(f"{path} cannot be read: {error.strerror}.") from error
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        try:
            said = line.decode("utf-8").strip()
        except UnicodeDecodeError:  # without a cause: it would repeat what is in the file
            raise InvalidParameter(f"{where}: it is not UTF-8.") from None
        if _SEPARATORS.search(said):
            raise InvalidParameter(f"{where}: one term a line is expected, without commas or brackets.")
        if said:
            yield where, said
