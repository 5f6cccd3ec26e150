"""What a speaker is called in an answer: by name where there is one, else as the protocol's readers expect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from app.domain.speakers import Speaker

Label = Callable[[Speaker], str]
Language = Literal["en", "zh"]


def numbered(language: Language) -> Label:
    """Speaker1, Speaker2 ... or 说话人1, 说话人2 ..."""
    prefix = "Speaker" if language == "en" else "说话人"
    return lambda speaker: speaker.name or f"{prefix}{speaker.number + 1}"


def lettered(speaker: Speaker) -> str:
    """A to Z, then AA, AB ..., as OpenAI calls speakers that nobody named."""
    if speaker.name:
        return speaker.name
    letters, left = "", speaker.number
    while left >= 0:
        left, place = divmod(left, 26)
        letters = chr(ord("A") + place) + letters
        left -= 1
    return letters
