"""Cards in /metrics: nvidia-smi is asked beside scrapes, once at a time, and nobody waits for it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from house import furnished
from service.test_metrics_served import of, polled, ready, scraped

from app.modelstore.machine import GIBIBYTE, Gpu
from app.service.metrics import cards
from app.service.metrics.cards import Cards
from app.service.service import SpeechService

CARD = Gpu(1, "GPU-a", "card", 80 * GIBIBYTE, 30 * GIBIBYTE, "1")
SLOW = """#!/bin/sh
echo asked >> "$0.log"
while [ ! -e "$0.go" ]; do sleep 0.05; done
echo "GPU-a, card, 81920, 30720, 1"
"""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_scrapes_do_not_wait_for_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More scrapes than asyncio has threads, while a card's driver tells nothing."""
    house = furnished(tmp_path, monkeypatch)
    program = tmp_path / "bin" / "nvidia-smi"
    asked, go = Path(f"{program}.log"), Path(f"{program}.go")

    def install() -> None:
        program.parent.mkdir()
        program.write_text(SLOW)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(SpeechService, "device", "cuda:0")
        monkeypatch.setattr(cards, "_TIMEOUT_SECONDS", 60.0)

    async def scenario(client: httpx.AsyncClient) -> None:
        await ready(client)
        install()
        for found in await asyncio.gather(*(scraped(client) for _ in range(40))):
            assert "asr_gpu_memory_bytes" not in found, "nothing is known yet"
        await asyncio.to_thread(until, lambda: asked.exists() and bool(asked.read_text()))
        assert "asr_gpu_memory_bytes" not in await scraped(client)
        assert await asyncio.to_thread(asked.read_text) == "asked\n"
        await asyncio.to_thread(go.touch)

        async def told() -> bool:
            return "asr_gpu_memory_bytes" in await scraped(client)

        await polled(told)
        found = await scraped(client)
        assert found["asr_gpu_memory_bytes"] == {of(gpu="0"): 80.0 * GIBIBYTE}
        assert found["asr_gpu_memory_used_bytes"] == {of(gpu="0"): 50.0 * GIBIBYTE}

    house.serve(scenario)


def test_a_server_on_a_cpu_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = furnished(tmp_path, monkeypatch)
    monkeypatch.setattr(Cards, "latest", lambda _: pytest.fail("it was asked"))

    async def scenario(client: httpx.AsyncClient) -> None:
        await ready(client)
        assert "asr_gpu_memory_bytes" not in await scraped(client)

    house.serve(scenario)


def test_a_reading_is_kept_for_a_while_then_taken_anew_and_forgotten_where_that_hangs() -> None:
    now, may, readings = [1000.0], threading.Semaphore(0), 0

    def read() -> tuple[Gpu, ...]:
        nonlocal readings
        assert may.acquire(timeout=60)
        readings += 1
        return (CARD,)

    told = Cards(read, lambda: now[0])

    def ended() -> bool:
        return not any(thread.name == "cards" for thread in threading.enumerate())

    assert told.latest() == ()
    may.release()
    until(ended)
    now[0] += 9
    assert told.latest() == (CARD,)
    assert ended(), "it is kept"
    now[0] += 2
    assert told.latest() == (CARD,), "the last one, while the next is taken"
    assert not ended()
    now[0] += 280
    assert told.latest() == (CARD,)
    now[0] += 20
    assert told.latest() == (), "its driver hangs"
    assert readings == 1
    may.release()
    until(ended)
    assert told.latest() == (CARD,), "it has ended after all"
    assert readings == 2
    may.release()
    until(ended)
