"""Plays a recording through OddASR's sample client. Runs in the environment that oddasr.txt describes, by itself.

Its arguments are the sample client's. Prints a line of JSON for each message that came: `at` (seconds since the start),
`message`. What the client logs goes to standard error, and to a folder `logs` where it runs.

The package's own `__init__` loads the server with all its models; a bare package in its place loads nothing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import runpy
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any


def bare_package(name: str, folder: Path) -> None:
    """What a package is without its `__init__`."""
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package


def main() -> None:
    found = importlib.metadata.distribution("oddasr").locate_file("oddasr")
    bare_package("oddasr", Path(str(found)))
    bare_package("oddasr.logic", Path(str(found)) / "logic")
    proto = importlib.import_module("oddasr.logic.proto")
    taken_in, began = proto.obj_from_dict_recursive, time.monotonic()

    def told(into: Any, message: dict[str, Any]) -> Any:
        if "header" in message:  # it goes on with the header and the payload
            line = {"at": time.monotonic() - began, "message": message}
            print(json.dumps(line, ensure_ascii=False), flush=True)
        return taken_in(into, message)

    proto.obj_from_dict_recursive = told
    runpy.run_module("oddasr.testStreamAPI", run_name="__main__")


if __name__ == "__main__":
    main()
