"""Sends a recording as OddASR's sample client does. Runs in the environment that oddasr.txt describes, by itself.

Its arguments are the server's address, and the sample client's: a recording and a layout. What the client prints goes
to standard output. Of the client, only the address is changed, which stands in its text.
"""

from __future__ import annotations

import importlib.metadata
import runpy
import sys
from pathlib import Path
from typing import Any

import requests
from oddasr_play import bare_package

ADDRESS = "http://127.0.0.1:9002"


def main() -> None:
    base = sys.argv.pop(1)
    bare_package("oddasr", Path(str(importlib.metadata.distribution("oddasr").locate_file("oddasr"))))
    post = requests.post

    def post_here(url: str, **said: Any) -> requests.Response:
        if not url.startswith(ADDRESS):
            raise SystemExit(f"the client has another address: {url}")
        return post(base + url.removeprefix(ADDRESS), **said)

    requests.post = post_here
    runpy.run_module("oddasr.testAPI", run_name="__main__")


if __name__ == "__main__":
    main()
