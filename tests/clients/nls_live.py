"""Plays a recording through Alibaba Cloud's own SDKs. Runs in the environment that nls.txt describes, by itself.

Its one argument is JSON: `url`, `token`, `client` (transcriber, recognizer, ali_speech), `file`, `raw` (send the file
as it is; else it is a WAV of 16 kHz mono, whose samples are sent), `pace` (how many times as fast as samples were
recorded; 0: at once), `chunk` (bytes a message), `start` (arguments of the SDK's start; for ali_speech fields of the
payload), `tasks` (how many, one after another). Prints a line of JSON for each callback: `name`, `at` (seconds since
the first sound of its task), `message`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import wave
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

BYTES_A_SECOND = 32_000


def samples_of(path: str) -> bytes:
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return file.readframes(file.getnframes())


class Player:
    def __init__(self, wish: SimpleNamespace, out: Any) -> None:
        self._wish = wish
        self._out = out
        self._began = time.monotonic()
        self._sound = Path(wish.file).read_bytes() if wish.raw else samples_of(wish.file)

    def tell(self, name: str, message: object = None, *_: object) -> None:
        parsed = json.loads(message) if isinstance(message, str) else message
        line = {"name": name, "at": time.monotonic() - self._began, "message": parsed}
        self._out.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._out.flush()

    def play(self, send: Any) -> None:
        wish = self._wish
        self._began = time.monotonic()
        for first in range(0, len(self._sound), wish.chunk):
            if wish.pace:
                due = self._began + first / BYTES_A_SECOND / wish.pace
                time.sleep(max(0.0, due - time.monotonic()))
            send(self._sound[first : first + wish.chunk])


def play_nls(wish: SimpleNamespace, player: Player) -> None:
    """One SDK object for all tasks, as its examples have it."""
    import nls  # noqa: PLC0415

    names = ["start", "result_changed", "completed", "error"]
    made: Any = nls.NlsSpeechRecognizer
    if wish.client == "transcriber":
        names += ["sentence_begin", "sentence_end"]
        made = nls.NlsSpeechTranscriber
    callbacks: dict[str, Any] = {f"on_{name}": partial(player.tell, name) for name in names}
    closed = threading.Event()
    client = made(url=wish.url, token=wish.token, appkey="default", on_close=closed.set, **callbacks)
    for _ in range(wish.tasks):
        closed.clear()
        client.start(**wish.start)
        try:
            player.play(client.send_audio)
        except nls.exception.NotStartException:  # it was told that the task failed
            break
        client.stop(timeout=60)
        client.shutdown()
        # The SDK takes the end of the last connection for that of the next one, if that has begun by then.
        closed.wait(10)


def play_ali_speech(wish: SimpleNamespace, player: Player) -> None:
    """The older SDK: an object for each task."""
    from ali_speech import NlsClient  # noqa: PLC0415
    from ali_speech.callbacks import SpeechTranscriberCallback  # noqa: PLC0415

    callback = SpeechTranscriberCallback()
    for name in ("started", "result_changed", "sentence_begin", "sentence_end", "completed", "task_failed"):
        setattr(callback, f"on_{name}", partial(player.tell, name))
    for _ in range(wish.tasks):
        task = NlsClient().create_transcriber(callback, gateway_url=wish.url)
        task.set_appkey("default")
        task.set_token(wish.token)
        for name, value in wish.start.items():
            task.add_payload_param(name, value)
        player.tell("returned", {"start": task.start()})
        player.play(task.send)
        player.tell("returned", {"stop": task.stop()})
        task.close()


def main() -> None:
    wish = SimpleNamespace(**json.loads(sys.argv[1]))
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the SDK prints its handshake there
    player = Player(wish, out)
    (play_ali_speech if wish.client == "ali_speech" else play_nls)(wish, player)


main()
