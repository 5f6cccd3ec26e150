"""A client's JSON object, field by field: of the right type, or an error that names the place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from app.domain.errors import InvalidParameter
from app.protocols.messages import is_text


class Fields:
    """An object's fields. `path` is where it stands in the message ("session.audio.input"). All reads raise
    InvalidParameter."""

    def __init__(self, said: object, path: str = "") -> None:
        if not isinstance(said, dict):
            raise InvalidParameter(f"{path or 'The message'} must be an object.", param=path or None)
        self._said = cast("dict[str, Any]", said)
        self._path = path

    def __contains__(self, name: str) -> bool:
        return name in self._said

    @property
    def raw(self) -> Mapping[str, Any]:
        """As they were sent."""
        return self._said

    def place(self, name: str) -> str:
        """Where a field stands."""
        return f"{self._path}.{name}" if self._path else name

    def wrong(self, name: str, must: str) -> InvalidParameter:
        """The error that a field is not what it `must` be."""
        return InvalidParameter(f"{self.place(name)} must be {must}.", param=self.place(name))

    def inner(self, name: str) -> Fields | None:
        """An object in this one; None: there is none."""
        value = self._said.get(name)
        return None if value is None else Fields(value, self.place(name))

    def text(self, name: str, longest: int) -> str | None:
        """A text without blanks round it; None: there is none, or nothing in it."""
        value = self._said.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > longest:
            raise self.wrong(name, f"a string of at most {longest} characters")
        if not is_text(value):
            raise self.wrong(name, "a string of whole characters")
        return value.strip() or None

    def texts(self, name: str, most: int, longest: int) -> tuple[str, ...]:
        """A list of texts, each once; empty ones are left out."""
        value = self._said.get(name)
        if value is None:
            return ()
        items = cast("list[object]", value) if isinstance(value, list) else None
        if items is None or len(items) > most or not all(isinstance(one, str) and len(one) <= longest for one in items):
            raise self.wrong(name, f"a list of at most {most} strings of at most {longest} characters")
        if not all(is_text(str(one)) for one in items):
            raise self.wrong(name, "a list of strings of whole characters")
        return tuple(dict.fromkeys(text for one in items if (text := str(one).strip())))

    def choice(self, name: str, allowed: Collection[str]) -> str | None:
        """One of some words; None: nothing is said."""
        value = self._said.get(name)
        if value is None or (isinstance(value, str) and value in allowed):
            return value
        raise self.wrong(name, "one of: " + ", ".join(sorted(allowed)))

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number within its bounds; None: nothing is said."""
        value = self._said.get(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:  # NaN is not
            raise self.wrong(name, f"a number from {least:g} to {most:g}")
        return value

    def whole(self, name: str, least: int, most: int) -> int | None:
        """A whole number within its bounds; None: nothing is said."""
        value = self.number(name, least, most)
        if value is not None and value != int(value):
            raise self.wrong(name, "a whole number")
        return None if value is None else int(value)
