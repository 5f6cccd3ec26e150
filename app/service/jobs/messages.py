"""What protocols make of a notice, each in its own shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from app.domain.transcript import Transcript
from app.service.jobs.job import Notice


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent of a notice: a body, its Content-Type, and headers of the protocol's own, in ASCII."""

    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=lambda: {})


Drawer: TypeAlias = Callable[[Notice, Callable[[], Awaitable[Transcript | None]]], Awaitable[Message | None]]
"""Draws a notice as its protocol does; None where that protocol says nothing of this state. It is handed what reads the
job's transcript (None where it has not succeeded), for protocols that send it along. It may be asked several times."""
