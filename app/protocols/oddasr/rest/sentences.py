"""Text as sentences, told by their marks: OddASR's clients read one a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CLOSING = "\"'”’)\\]）】」』》"
_END = re.compile(
    rf"[。！？…]+[{_CLOSING}]*"  # in Chinese, whatever follows
    rf"|(?<![.?!])[.?!]++[{_CLOSING}]*+(?=\s|$|[\u2e80-\uffff])"  # elsewhere before a space: 3.5 and a.m. are no ends
)
_ABBREVIATION = re.compile(r"(?:^|[\s(\"'])(?:mr|mrs|ms|dr|st|prof|vs|no|jr|sr|(?:[a-z]\.)*[a-z])\.$", re.IGNORECASE)
"""What ends in a full stop and no sentence: Mr., and single letters, as in J. F. K."""
_LONGEST_ABBREVIATION = 16


def sentences(text: str) -> list[str]:
    """The sentences, in order, each on one line; together they are the text, but for white space."""
    return [one for part in _parts(text) if (one := " ".join(part.split()))]


def _parts(text: str) -> Iterator[str]:
    first = 0
    for end in _END.finditer(text):
        if not _ABBREVIATION.search(text, max(first, end.end() - _LONGEST_ABBREVIATION), end.end()):
            yield text[first : end.end()]
            first = end.end()
    yield text[first:]
