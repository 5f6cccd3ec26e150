"""What the tests of live sound share: streams fed in pieces, what was heard of them, what they leave behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from app.audio.declared import DeclaredSound
from app.audio.live import BLOCK, LiveSource, open_source

PLENTY = 1 << 40


def heard(declared: DeclaredSound | None, pieces: Iterable[bytes], *, bound: int = PLENTY) -> np.ndarray:
    """All sound of a stream that is fed `pieces`."""

    async def main() -> np.ndarray:
        source = open_source(declared, bound=bound)
        reader = asyncio.create_task(read(source))
        try:
            for piece in pieces:
                await source.feed(piece)
            await source.finish()
            return await reader
        finally:
            reader.cancel()
            await source.close()
            assert_nothing_left()

    return asyncio.run(main())


async def read(source: LiveSource, into: list[np.ndarray] | None = None) -> np.ndarray:
    """The sound until it ends; `into` gets each block as it comes."""
    blocks = [] if into is None else into
    async for block in source.blocks():
        assert 0 < len(block) <= BLOCK
        assert block.dtype == np.float32
        assert np.abs(block).max() <= 1
        blocks.append(block)
    return np.concatenate([np.zeros(0, np.float32), *blocks])


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


def assert_nothing_left() -> None:
    """No task but the caller's, no decoder process."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not {task for task in left if not task.done() and not task.cancelling()}
    assert not decoders()


def decoders() -> list[int]:
    """Process ids of this process's live decoders, dead ones that nobody waited for included."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent == os.getpid() and (b"app.audio.live_worker" in command or not command):
            found.append(int(folder.name))
    return found


def halves(data: bytes, at: int) -> list[bytes]:
    return [data[:at], data[at:]]


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two sounds at the shift, up to 0.15 s and parts of a sample, where they are most alike."""
    whole = np.fft.irfft(_cross(one, other))
    shift = max(range(-2_400, 2_401), key=lambda by: whole[by])
    one, other = one[max(shift, 0) :], other[max(-shift, 0) :]
    both = min(len(one), len(other))
    cross = _cross(one[:both], other[:both])
    turn = 1j * np.pi * np.arange(len(cross)) / (len(cross) - 1)
    finest = max(np.real(cross @ np.exp(turn * part)) for part in np.linspace(-1, 1, 33)) / (len(cross) - 1)
    return float(finest / (np.linalg.norm(one[:both]) * np.linalg.norm(other[:both])))


def _cross(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    size = 1 << (len(one) + len(other)).bit_length()
    return np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size))
