"""Has Groq's SDK recognise a recording. Runs in the environment that groq.txt describes, by itself.

Its one argument is JSON: `base`, `key`, `file`, `how` (transcriptions, translations or models), `options`.
Prints what the SDK returns, or the error it raises, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import groq


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    client = groq.Groq(base_url=given["base"], api_key=given["key"], max_retries=0)
    try:
        if given["how"] == "models":
            told: Any = client.models.list().to_dict()
        else:
            answer = getattr(client.audio, given["how"]).create(file=Path(given["file"]), **given["options"])
            told = answer if isinstance(answer, str) else answer.to_dict()
    except groq.APIStatusError as error:
        told = {"raised": type(error).__name__, "status": error.status_code, "body": error.body}
    print(json.dumps(told, ensure_ascii=False))


main()
