"""Voiceprints that are made up, and stores to enrol them in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from app.domain.speakers import Voiceprint
from app.service.voices.store import VoiceStore

ENCODER = "encoder-one"
_T = TypeVar("_T")


def voiceprint(seed: int, seconds: float = 2.0, encoder: str = ENCODER) -> Voiceprint:
    embedding = np.random.default_rng(seed).standard_normal(192)
    return Voiceprint((embedding / np.linalg.norm(embedding)).astype(np.float32), seconds, encoder)


def run(path: Path, scenario: Callable[[VoiceStore], Awaitable[_T]], **changes: object) -> _T:
    """What `scenario` returns; the store is closed in any case."""

    async def main() -> _T:
        store = VoiceStore(path, **{"busy_seconds": 0.1, **changes})
        try:
            async with asyncio.timeout(60):
                return await scenario(store)
        finally:
            await store.close()

    return asyncio.run(main())
