"""A first message's parameters, field by field: read leniently, because clients send numbers and flags as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from app.domain.errors import InvalidParameter
from app.protocols.messages import is_text

LONGEST_TEXT = 512


class Payload:
    """Parameters by name; null and "" are none. All readings raise InvalidParameter."""

    def __init__(self, *fields: Mapping[str, object]) -> None:
        """Of a name that several of `fields` have, the last one that says something counts."""
        self.all: dict[str, object] = {}
        for some in fields:
            self.all |= {name: value for name, value in some.items() if value is not None and value != ""}

    def value(self, name: str) -> object:
        """As it was said; None where it was not."""
        return self.all.get(name)

    def text(self, name: str, *, longest: int | None = LONGEST_TEXT) -> str | None:
        """A text without blanks round it."""
        value = self.all.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or (longest is not None and len(value) > longest):
            told = "" if longest is None else f" of at most {longest} characters"
            raise InvalidParameter(f"{name} must be a text{told}.", param=name)
        if not is_text(value):
            raise InvalidParameter(f"{name} must be a text of whole characters.", param=name)
        return value.strip() or None

    def number(self, name: str, least: float = -math.inf, most: float = math.inf) -> float | None:
        """A number, brought within its bounds."""
        value = self._number(name)
        if value is None:
            return None
        if not math.isfinite(value):
            raise InvalidParameter(f"{name} must be a number.", param=name)
        return min(max(value, least), most)

    def within(self, name: str, default: float, least: float, most: float) -> float:
        """A number, which must be within its bounds."""
        value = self._number(name)
        if value is None:
            return default
        if not least <= value <= most:  # NaN is not
            raise InvalidParameter(f"{name} must be a number from {least:g} to {most:g}.", param=name)
        return value

    def count(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number, which must be within its bounds."""
        number = self.within(name, default, least, most)
        if number != int(number):
            raise InvalidParameter(f"{name} must be a whole number.", param=name)
        return int(number)

    def choice(self, name: str) -> bool | None:
        """Yes, no, or nothing said."""
        value = self.all.get(name)
        if value is None:
            return None
        said = str(value).strip().lower()
        if said in {"true", "1", "yes", "on"}:
            return True
        if said in {"false", "0", "no", "off"}:
            return False
        raise InvalidParameter(f"{name} must be true or false.", param=name)

    def flag(self, name: str, *, default: bool) -> bool:
        """Yes or no."""
        said = self.choice(name)
        return default if said is None else said

    def terms(self, name: str) -> tuple[str, ...]:
        """What hotwords are read from: a text, or a list or an object as JSON in one."""
        value = self.all.get(name)
        if value is None:
            return ()
        if isinstance(value, list | dict):
            return (json.dumps(value, ensure_ascii=False),)
        if not isinstance(value, str):
            raise InvalidParameter(f"{name} must be a text, a list or an object.", param=name)
        return (value,) if value.strip() else ()

    def _number(self, name: str) -> float | None:
        """NaN where it is none."""
        value = self.all.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or (isinstance(value, str) and "_" in value):  # 1_000 is a number to Python only
            return math.nan
        try:
            return float(value)  # type: ignore[arg-type]  # caught below
        except (TypeError, ValueError, OverflowError):
            return math.nan
