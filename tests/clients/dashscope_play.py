"""Has DashScope's SDK transcribe a recording, as its documents' sample does. Runs in the environment that dashscope.txt
describes, by itself.

Its one argument is JSON: `base`, `key`, `url` (the recording's), `options`, `patience` (seconds). Prints, as JSON, what
the SDK returned for the submission and for the wait, and the transcript that lies where the outcome says.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import dashscope
import requests
from dashscope.audio.asr import Transcription


def returned(response: Any) -> dict[str, Any]:
    told = {"status": response.status_code, "code": response.code, "message": response.message}
    return told | {
        "output": response.output and dict(response.output),
        "usage": response.usage and dict(response.usage),
    }


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    dashscope.base_http_api_url = given["base"]
    dashscope.api_key = given["key"]
    submitted = Transcription.async_call(model="paraformer-v2", file_urls=[given["url"]], **given["options"])
    told: dict[str, Any] = {"submitted": returned(submitted)}
    if submitted.status_code == 200:
        outcome = Transcription.wait(task=submitted.output.task_id, wait_timeout=given["patience"])
        told["outcome"] = returned(outcome)
        for result in (outcome.output or {}).get("results") or ():
            if "transcription_url" in result:
                told["transcription"] = requests.get(result["transcription_url"], timeout=30).json()
    print(json.dumps(told, ensure_ascii=False))


main()
