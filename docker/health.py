"""The image's HEALTHCHECK: exit status 0 when the server can take requests."""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from pathlib import Path

from dotenv import dotenv_values

SECONDS = 5.0
"""How long an answer may take."""
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - only compared
_OK = 200


def setting(name: str, default: str) -> str:
    """A setting as the server reads it: from the environment, else from .env beside start.py, else the default."""
    beside = {} if name in os.environ else dotenv_values(Path(__file__).parents[1] / ".env")
    return os.environ.get(name, beside.get(name) or default)


def option(name: str, commandline: Path) -> str | None:
    """What the container's first process was given on its command line, which wins over settings. None: nothing."""
    try:
        words = commandline.read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return None
    if not any(word.endswith(("start.py", "entrypoint.sh")) for word in words):
        return None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def connection(commandline: Path) -> http.client.HTTPConnection:
    """To the server on this machine. Its certificate is not looked at: it is made for other names than this one."""
    said = option("--host", commandline) or setting("HOST", "")
    host = _EVERYWHERE.get(said, said)
    port = int(option("--port", commandline) or setting("PORT", "") or 8000)
    if not setting("TLS_CERT_FILE", ""):
        return http.client.HTTPConnection(host, port, timeout=SECONDS)
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=unchecked)


def main(commandline: Path = Path("/proc/1/cmdline")) -> int:
    """Ask, and print the answer: `docker inspect` shows it. `commandline` is as /proc has it."""
    try:
        asked = connection(commandline)
        asked.request("GET", "/health/ready")
        answer = asked.getresponse()
        print(answer.read().decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"no answer: {error}")
        return 1
    return 0 if answer.status == _OK else 1


if __name__ == "__main__":
    sys.exit(main())
