"""Words that are not to be read in a transcript, and what stands in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MaskingStyle = Literal["stars", "remove", "parentheses"]


@dataclass(frozen=True, slots=True)
class Masking:
    """Sensitive terms, and what becomes of them in the text.

    "stars": each of their characters is written as `*`. "remove": they are left out. "parentheses": they stay, and are
    marked: (term).
    """

    terms: tuple[str, ...]
    style: MaskingStyle = "stars"

    @property
    def hides(self) -> bool:
        """Whether nothing of the terms may be left."""
        return self.style != "parentheses"
