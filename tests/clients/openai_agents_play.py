"""Plays sound through openai-agents' streamed speech-to-text and prints what its user is told, a line each, in an
environment of its own.

The argument is JSON: `base`, `key`, `sound` (raw 16-bit samples at 24 kHz), `pace`, and the model's `settings`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from agents.voice import OpenAISTTModel, StreamedAudioInput, STTModelSettings
from openai import AsyncOpenAI

given: dict[str, Any] = json.loads(sys.argv[1])
RATE = 24_000
FRAME = RATE // 20
samples = np.frombuffer(Path(given["sound"]).read_bytes(), np.int16)


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def play(sound: StreamedAudioInput) -> None:
    began = time.perf_counter()
    for first in range(0, len(samples), FRAME):
        await asyncio.sleep(max(0.0, began + first / RATE / given["pace"] - time.perf_counter()))
        await sound.add_audio(samples[first : first + FRAME])
    tell(name="played", at=time.perf_counter() - began)
    await sound.add_audio(None)


async def main() -> None:
    client = AsyncOpenAI(base_url=given["base"], api_key=given["key"], max_retries=0)
    sound = StreamedAudioInput()
    settings = STTModelSettings(**given["settings"])
    began = time.perf_counter()
    try:
        session = await OpenAISTTModel(given["model"], client).create_session(sound, settings, False, False)
        playing = asyncio.create_task(play(sound))
        async for turn in session.transcribe_turns():
            tell(name="turn", text=turn, at=time.perf_counter() - began)
        await playing
        await session.close()
    except Exception as error:  # noqa: BLE001 - whatever it raises is what its user sees
        tell(name="raised", text=f"{error!r} {error.__cause__!r}", at=time.perf_counter() - began)


asyncio.run(main())
