"""Plays sound through OpenAI's own SDK and prints the events it gets, a line each, in an environment of its own.

The argument is JSON: `how` is ga, beta or secret, `sound` raw 16-bit samples at 24 kHz. `session` is the update
that is sent (null: none). `pace` is how many times as fast as it was recorded it is sent. `commit`: the client ends it.
`texts` is how many completed ones to wait for.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import openai
from websockets.exceptions import ConnectionClosed, InvalidStatus

given: dict[str, Any] = json.loads(sys.argv[1])
BYTES_A_SECOND = 48_000
FRAME = BYTES_A_SECOND // 20
began = time.perf_counter()


def connection() -> Any:
    """What the SDK connects with."""
    base: str = given["base"]
    if given["how"] == "beta":
        client = openai.OpenAI(
            base_url=base, api_key=given["key"], websocket_base_url=base.replace("http", "ws", 1), max_retries=0
        )
        return client.beta.realtime.connect(model="whisper-1", extra_query={"intent": "transcription"})
    client = openai.OpenAI(base_url=base, api_key=given["key"], max_retries=0)
    if given["how"] == "secret":
        secret = client.realtime.client_secrets.create(session=given["session"])
        tell({"type": "secret", "session": secret.session.to_dict()})
        client = openai.OpenAI(base_url=base, api_key=secret.value, max_retries=0)
    return client.realtime.connect(extra_query={"intent": "transcription"})


def tell(event: dict[str, Any]) -> None:
    print(json.dumps({"at": time.perf_counter() - began, **event}), flush=True)


def play(live: Any) -> None:
    sound = Path(given["sound"]).read_bytes() + bytes(int(given.get("silence", 1.5) * BYTES_A_SECOND))
    start = time.perf_counter()
    for first in range(0, len(sound), FRAME):
        time.sleep(max(0.0, start + first / BYTES_A_SECOND / given["pace"] - time.perf_counter()))
        live.input_audio_buffer.append(audio=base64.b64encode(sound[first : first + FRAME]).decode())
    tell({"type": "played"})
    if given.get("commit"):
        live.input_audio_buffer.commit()


def update(live: Any) -> None:
    session = given["session"]
    if given["how"] == "beta":
        live.transcription_session.update(session=session)
    elif given["how"] == "ga" and session is not None:
        live.session.update(session=session)


try:
    with connection() as live:
        tell(live.recv().to_dict())
        update(live)
        playing = threading.Thread(target=play, args=(live,), daemon=True)
        playing.start()
        texts = 0
        for event in live:
            tell(event.to_dict())
            texts += event.type.endswith(".completed")
            if event.type in {"error", "input_audio_buffer.cleared"} or texts == given["texts"]:
                break
        playing.join(30)
except InvalidStatus as error:
    tell({"type": "refused", "status": error.response.status_code, "body": error.response.body.decode()})
except ConnectionClosed as error:
    tell({"type": "closed", "code": error.rcvd.code if error.rcvd else None})
