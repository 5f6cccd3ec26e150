"""What a voice may be called."""

from __future__ import annotations

import re

from app.service.names import MAX_CHARACTERS, cleaned, name_key

__all__ = ["MAX_CHARACTERS", "clean_name", "name_key"]

_ID = re.compile(r"voice_[0-9a-f]{24}")


def clean_name(name: str | None) -> str:
    """The name as it is kept: stripped, in Unicode's composed form.

    Raises:
        InvalidParameter: it cannot be one, or looks like a voice's id (`names.cleaned`).
    """
    return cleaned(name, of="voice", ids=_ID, why="whose voice it is")
