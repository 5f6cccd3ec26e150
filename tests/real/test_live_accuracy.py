"""Live text is as right as a file's: the same recordings both ways, at the pace at which they were spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .known import POINTS, Known, known_recordings, transcripts, wrong
from .live_client import funasr, listen
from .server import RealServer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]


async def sentences(url: str, sound: Sixteen) -> str:
    """Alibaba's."""
    return (await listen(url, sound, pace=1.0)).text


async def two_pass(url: str, sound: Sixteen) -> str:
    """FunASR's."""
    return await funasr(url, sound, 1.0)


@pytest.fixture(scope="module")
def recordings(shared_audio: Path, phone_call: Path) -> list[Known]:
    return known_recordings(shared_audio, phone_call)


@pytest.fixture(scope="module")
def as_files(real_server: RealServer, recordings: list[Known]) -> float:
    """The share of wrong words in the recordings' transcripts."""
    return wrong(recordings, transcripts(real_server, recordings))


@pytest.mark.parametrize(
    ("path", "hear"),
    [("/ws/v1/asr", sentences), ("/ws/v1", sentences), ("/ws/funasr", two_pass)],
    ids=["asr", "nls", "funasr"],
)
def test_live_text_has_hardly_more_mistakes(
    real_server: RealServer,
    recordings: list[Known],
    as_files: float,
    path: str,
    hear: Callable[[str, Sixteen], Awaitable[str]],
) -> None:
    async def heard() -> list[str]:
        return await asyncio.gather(*(hear(real_server.base + path, one.sound) for one in recordings))

    assert wrong(recordings, asyncio.run(heard())) <= as_files + POINTS
