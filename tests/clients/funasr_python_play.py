"""Plays a recording through funasr-python. Runs in the environment that funasr_python.txt describes, by itself.

Its one argument is JSON: `url`, `wav`, `options` (of the client), `times` (how often, on pooled connections). Prints a
line of JSON for each callback and for what is returned or raised: `name`, `at` (seconds since the beginning), `text`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from types import SimpleNamespace
from typing import Any

import funasr_client


async def main() -> None:
    wish = SimpleNamespace(**json.loads(sys.argv[1]))
    began = time.monotonic()

    def tell(name: str, text: str) -> None:
        line = {"name": name, "at": time.monotonic() - began, "text": text}
        print(json.dumps(line, ensure_ascii=False), flush=True)

    class Callback(funasr_client.RecognitionCallback):
        def on_partial_result(self, result: Any) -> None:
            tell("partial", result.text)

        def on_final_result(self, result: Any) -> None:
            tell("final", result.text)

        def on_sentence_end(self, result: Any) -> None:
            tell("sentence", result.text)

        def on_connection_status(self, status: Any) -> None:
            pass

        def on_error(self, error: Exception) -> None:
            tell("error", f"{type(error).__name__}: {error}")

    client = funasr_client.AsyncFunASRClient(server_url=wish.url, auto_reconnect=False, **wish.options)
    await client.start()
    try:
        for _ in range(wish.times):
            result = await client.recognize_file(wish.wav, Callback())
            tell("returned", result.text)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what its user sees
        tell("raised", f"{type(error).__name__}: {error}")
    finally:
        await client.close()


asyncio.run(main())
