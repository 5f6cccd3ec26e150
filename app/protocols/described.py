"""What clients say of a recording beside its bytes: its name, and what raw sound it is."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from app.audio.declared import DeclaredSound, declared_sound

MAX_NAME_CHARACTERS: Final = 255


@dataclass(frozen=True, slots=True)
class Described:
    """What an upload's client said of its file."""

    name: str = ""
    declared: DeclaredSound | None = None


def described(metadata: str) -> Described:
    """What is in an upload's `metadata` as tus clients send it: `filename` and `filetype`, a media type, in base64.

    Raises:
        UndecodableAudio: it is declared to be raw sound, and not how.
    """
    pairs = (pair.strip().partition(" ") for pair in metadata.split(","))
    said = {key: _unpacked(value) for key, _, value in pairs}
    return Described(shown_name(said.get("filename", "")), declared_sound(said.get("filetype")))


def shown_name(said: str) -> str:
    """The last part of a path, of characters that can be shown and kept."""
    last = said.replace("\\", "/").rpartition("/")[2]
    kept = "".join(character for character in last if character.isprintable())
    return kept.encode(errors="replace").decode()[:MAX_NAME_CHARACTERS]


def _unpacked(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode(errors="replace")
    except ValueError:
        return ""
