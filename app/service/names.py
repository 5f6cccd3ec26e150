"""What something that is kept may be called, and when two names are the same."""

from __future__ import annotations

import re
import unicodedata

from app.domain.errors import InvalidParameter

MAX_CHARACTERS = 64
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories: controls, halves of characters, and ends of lines and paragraphs."""
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that turn the direction of writing: with them a name could be made to look like another."""
_INVISIBLE = frozenset({"Cf", "Zs", "Mn", "Me"})


def cleaned(name: str | None, *, of: str, ids: re.Pattern[str], why: str) -> str:
    """The name as it is kept: stripped, in Unicode's composed form.

    `of` is what has the name, `ids` what its ids look like, `why` what a name is needed for.

    Raises:
        InvalidParameter: it is missing, longer than MAX_CHARACTERS, invisible, has control characters, or looks like an
            id. The message does not repeat it.
    """
    clean = unicodedata.normalize("NFC", name or "").strip()
    kinds = {unicodedata.category(character) for character in clean}
    if not clean:
        raise InvalidParameter(f"name is required: {why}.", param="name")
    if len(clean) > MAX_CHARACTERS:
        raise InvalidParameter(f"name has more than {MAX_CHARACTERS} characters.", param="name")
    if kinds & _FORBIDDEN or _TURNING.search(clean) or kinds <= _INVISIBLE:
        raise InvalidParameter("name has control characters, or nothing to be seen.", param="name")
    if ids.fullmatch(clean):
        raise InvalidParameter(f"name looks like the id of a {of}; choose another.", param="name")
    return clean


def name_key(name: str) -> str:
    """What names are compared by: equal for names that differ in case or in Unicode's ways to write a letter."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name.strip()).casefold())
