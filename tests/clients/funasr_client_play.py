"""Plays a recording through funasr-client. Runs in the environment that funasr_client.txt describes, by itself.

Its one argument is JSON: `url`, `wav`, `how` (file: its function for files, as fast as it sends; merged: its function
for one text; async: the first in its asynchronous form; live: as it would be spoken; twice: two recordings on one
connection), `pace` (of live: how many times as fast as it was recorded), `options` (of the client). Prints a line of
JSON for each message: `at` (seconds since the first sound), `message` as the client understood it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import wave
from types import SimpleNamespace
from typing import Any

import funasr_client

FRAME_SECONDS = 0.06


def main() -> None:
    wish = SimpleNamespace(**json.loads(sys.argv[1]))
    began = time.monotonic()

    def tell(message: Any) -> None:
        line = {"at": time.monotonic() - began, "message": message}
        print(json.dumps(line, ensure_ascii=False), flush=True)

    if wish.how == "file":
        for message in funasr_client.file_asr_stream(wish.wav, wish.url, **wish.options):
            tell(message)
    elif wish.how == "merged":
        tell(funasr_client.file_asr(wish.wav, wish.url, **wish.options))
    elif wish.how == "async":
        asyncio.run(asynchronously(wish, tell))
    elif wish.how == "live":
        live(wish, tell)
    else:
        twice(wish, tell)


async def asynchronously(wish: SimpleNamespace, tell: Any) -> None:
    async for message in funasr_client.async_file_asr_stream(wish.wav, wish.url, **wish.options):
        tell(message)


def live(wish: SimpleNamespace, tell: Any) -> None:
    with funasr_client.funasr_client(wish.url, callback=tell, audio_fs=16_000, **wish.options) as client:
        began = time.monotonic()
        for number, frame in enumerate(frames(wish.wav)):
            time.sleep(max(0.0, began + number * FRAME_SECONDS / wish.pace - time.monotonic()))
            client.send(frame)


def twice(wish: SimpleNamespace, tell: Any) -> None:
    """The client is made for one recording, so that it is made to forget that it had its final message."""
    with funasr_client.funasr_client(wish.url, blocking=True, audio_fs=16_000, **wish.options) as client:
        for _ in range(2):
            client._received_final = False
            for frame in frames(wish.wav):
                client.send(frame)
            client.signal_close()
            for message in client.stream():
                tell(message)


def frames(path: str) -> list[bytes]:
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        sound = file.readframes(file.getnframes())
    length = int(FRAME_SECONDS * 32_000)
    return [sound[first : first + length] for first in range(0, len(sound), length)]


main()
