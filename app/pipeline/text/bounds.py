"""How long a list may be before anybody reads it: what a sender chooses must not cost more than its refusal."""

from __future__ import annotations

_REPEATED = 4
_FEW = 1000


def most_said(most: int) -> int:
    """How many terms are looked at where `most` different ones may be kept. Lists put together repeat some of them."""
    return _REPEATED * most + _FEW


def most_commas(most: int) -> int:
    """How many commas JSON may have that says so many terms: a term has a few fields, or commas of its own."""
    return 4 * most_said(most)
