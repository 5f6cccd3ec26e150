"""Plays sound through LiveKit's speech-to-text plugin for OpenAI and prints what its user gets, a line each, in an
environment of its own.

The argument is JSON: `base`, `key`, `sound` (raw 16-bit samples at 24 kHz), `pace`, `finals` to wait for, `options`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectOptions, utils
from livekit.agents.stt import SpeechEventType
from livekit.plugins.openai import STT

given: dict[str, Any] = json.loads(sys.argv[1])
RATE = 24_000
FRAME = RATE // 20
sound = Path(given["sound"]).read_bytes() + bytes(3 * RATE)
began = time.perf_counter()


def tell(**what: Any) -> None:
    print(json.dumps({"at": time.perf_counter() - began, **what}), flush=True)


async def play(stream: Any) -> None:
    start = time.perf_counter()
    for first in range(0, len(sound) // 2, FRAME):
        await asyncio.sleep(max(0.0, start + first / RATE / given["pace"] - time.perf_counter()))
        data = sound[first * 2 : (first + FRAME) * 2]
        stream.push_frame(rtc.AudioFrame(data, RATE, 1, len(data) // 2))
    tell(name="played")


async def main() -> None:
    async with utils.http_context.open():
        stt = STT(base_url=given["base"], api_key=given["key"], use_realtime=True, **given["options"])
        stream = stt.stream(conn_options=APIConnectOptions(max_retry=0, timeout=20))
        playing = asyncio.create_task(play(stream))
        finals = 0
        try:
            async for event in stream:
                said = event.alternatives[0] if event.alternatives else None
                tell(name=event.type.value, text=said.text if said else "", language=str(said.language) if said else "")
                finals += event.type is SpeechEventType.FINAL_TRANSCRIPT
                if finals == given["finals"]:
                    break
            await playing
        except Exception as error:  # noqa: BLE001 - whatever it raises is what its user sees
            tell(name="raised", text=f"{error!r} {error.__cause__!r}")
        finally:
            playing.cancel()
            await stream.aclose()
            await stt.aclose()


asyncio.run(main())
