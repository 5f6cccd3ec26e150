"""Has the tus protocol's Python client upload a file. Runs in the environment that tus.txt describes, by itself.

Its one argument is JSON: `endpoint`, `key`, `file`, `chunk` (bytes a request), `url` of an upload to go on with (null:
a new one), `checked` (send checksums). Prints the upload's URL as soon as it has one, and "done" at the end.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tusclient.client import TusClient


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    client = TusClient(given["endpoint"], headers={"Authorization": f"Bearer {given['key']}"})
    uploader = client.uploader(
        given["file"],
        chunk_size=given["chunk"],
        url=given["url"],
        metadata={"filename": "会议.wav", "filetype": "audio/wav"},
        upload_checksum=given["checked"],
        retries=240,
        retry_delay=1,
    )
    if not uploader.url:
        uploader.set_url(uploader.create_url())
        uploader.offset = 0
    print(uploader.url, flush=True)
    uploader.upload()
    print("done", flush=True)


main()
