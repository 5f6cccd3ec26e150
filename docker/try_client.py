"""Sends the sample recording to the server beside it, in its container, and prints what comes back."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx

recording = Path(sys.argv[1])
base = f"http://127.0.0.1:{os.environ['PORT']}"
health = httpx.get(f"{base}/health").json()
print(f"served: {health['model']}, version {health['version']}")
with recording.open("rb") as stream:
    answer = httpx.post(
        f"{base}/v1/audio/transcriptions",
        files={"file": stream},
        data={"response_format": "json"},
        timeout=300.0,
    )
answer.raise_for_status()
text = answer.json()["text"]
print(f"transcript: {text}")
if "hello" not in text.lower():
    sys.exit("error: the recording says hello, the transcript does not")
