"""For schemathesis, which makes up requests: every other recording it makes up is a real one, so that there are answers
to look at, too. SPEECH names its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import schemathesis

SOUND = frozenset({"file", "audio", "audio_file"})
"""Fields that take a recording."""


@schemathesis.hook
def map_body(_context: schemathesis.HookContext, body: Any) -> Any:
    """A form with a real recording in it, or a whole body that is one."""
    speech = Path(os.environ["SPEECH"]).read_bytes()
    if isinstance(body, bytes):
        return speech if len(body) % 2 else body
    if not isinstance(body, dict):
        return body
    return {name: speech if name in SOUND and len(repr(made)) % 2 else made for name, made in body.items()}


@schemathesis.serializer("application/offset+octet-stream")
def part_of_an_upload(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    """As any other bytes."""
    return value if isinstance(value, bytes) else b"sound"
