"""Plays recordings through the wyoming package. Runs in the environment that wyoming.txt describes, by itself.

Its one argument is JSON: `port`, `wavs` (one transcription each, on one connection; [] only asks for the info), `ask`
(of `transcribe`), `seconds` (of sound in a chunk), `pace` (times as fast as it was spoken; 0: as fast as it can).
Prints a line of JSON for each event that comes: `type`, `at` (seconds since the beginning), `data`; last, `sent` says
when each `audio-stop` was.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import wave
from types import SimpleNamespace
from typing import Any

from wyoming.asr import Transcribe, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info

BEGAN = time.monotonic()


def tell(kind: str, data: object) -> None:
    line = {"type": kind, "at": time.monotonic() - BEGAN, "data": data}
    print(json.dumps(line, ensure_ascii=False), flush=True)


async def play(client: AsyncTcpClient, path: str, wish: SimpleNamespace) -> None:
    await client.write_event(Transcribe(**wish.ask).event())
    with wave.open(path) as sound:
        form = {"rate": sound.getframerate(), "width": sound.getsampwidth(), "channels": sound.getnchannels()}
        await client.write_event(AudioStart(**form).event())
        while data := sound.readframes(int(wish.seconds * form["rate"])):
            await client.write_event(AudioChunk(audio=data, **form).event())
            await asyncio.sleep(wish.seconds / wish.pace if wish.pace else 0)
    await client.write_event(AudioStop().event())
    tell("sent", path)


async def listen(client: AsyncTcpClient, ends: set[str]) -> None:
    while (event := await client.read_event()) is not None:
        tell(event.type, event.data)
        if event.type in ends:
            return
    tell("closed", None)


async def main() -> None:
    wish = SimpleNamespace(**json.loads(sys.argv[1]))
    async with AsyncTcpClient("127.0.0.1", wish.port) as client:
        await client.write_event(Describe().event())
        described: Any = await client.read_event()
        tell("info", Info.from_event(described).to_dict() if Info.is_type(described.type) else described.data)
        for path in wish.wavs:
            listening = asyncio.create_task(listen(client, {TranscriptStop().event().type}))
            try:
                await play(client, path, wish)
            except OSError as error:
                tell("broken", type(error).__name__)
            await listening


asyncio.run(main())
