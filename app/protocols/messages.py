"""JSON in WebSocket messages: read with a bound, and its texts made sure of."""

from __future__ import annotations

import json

MOST_COMMAS = 100_000
"""In a message: ten thousand hotwords with their weights and everything else. Sound in base64 has none."""


def parsed(message: str) -> object:
    """What it says; None where it is no JSON, or more than anybody has to say: a message of empty objects would take
    two dozen times its size in memory, and hold up everybody meanwhile."""
    if message.count(",") > MOST_COMMAS:
        return None
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        return None


def is_text(said: str) -> bool:
    """Whether it has characters only, and no halves of them, which JSON may have and UTF-8 may not."""
    return said.isascii() or said.encode(errors="replace").decode() == said
