"""Clients that vanish in the middle of a live session leave nothing behind, whatever they speak."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmarks.live_vanish import Holdings, holdings, settled, vanish
from tools.dialects import DIALECTS

from .scoring import read_wav
from .wires import Wires

WAVE, WAVES = 250, 14
"""Five hundred are two waves; threads are made, and fill their arenas, with the first ones, and neither threads nor
memory grow any more then."""
MEMORY_MIB = 8.0
"""The least that a session keeps, its speech detector's caches, is 38 KiB: that of five hundred would be 19 MiB."""
THREADS = 64
"""More than all pools can have."""


@pytest.mark.timeout(300)
def test_five_hundred_that_vanish_leave_nothing_behind(small_wires: Wires, phone_call: Path) -> None:
    server, sound = small_wires.server, read_wav(phone_call / "sample.wav")
    sessions = [partial(dialect, small_wires.url(name)) for name, dialect in DIALECTS.items()]

    def look() -> Holdings:
        return holdings(server.process.pid, server.base, server.temp)

    def wave(number: int, before: Holdings) -> Holdings:
        done = asyncio.run(vanish(sessions, sound, WAVE, seed=number))
        assert done.total() == WAVE
        assert not [moment for moment in done if moment.startswith("refused")]
        return settled(look, before, 30.0)

    first = replace(wave(0, replace(look(), threads=THREADS)), threads=THREADS)
    assert first.active == first.files == 0
    seen: list[Holdings] = []
    for number in itertools.count(1):
        seen.append(wave(number, first))
        assert seen[-1].nothing_beyond(first)
        if number > 2:
            grown, threads = seen[-1].own - seen[-3].own, seen[-1].threads - seen[-3].threads
            if grown < MEMORY_MIB and threads <= 0:
                return
        assert number < WAVES, f"every wave of clients leaves something: {seen}"
