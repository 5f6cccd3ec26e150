"""The command line: serve, and everything about models, without serving."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.cli import doctor, models, sample
from app.domain.errors import SpeechError
from app.settings import Settings

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

DESCRIPTION = """\
A self-hosted speech recognition server.

Without a command it serves: models that are missing are fetched first, then it listens. Settings are environment
variables or lines in a file called .env (HOST, PORT, API_KEYS, ASR_MODEL, MODELS_DIR, MODEL_MIRRORS, ...).
"""

EPILOG = """\
examples:
  python start.py                          fetch what is missing, then serve on port 8000
  python start.py serve --port 9000        the same on another port
  python start.py doctor                   is this machine ready?
  python start.py sample                   a real phone call to try it with
  python start.py models pack models.tar   all models in one file, for a machine without network
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (sys.argv when None); returns the exit status: 0 well, 1 a check failed, 2 an error."""
    _open_standard_streams()
    arguments = build_parser().parse_args(argv)
    try:
        settings = Settings(**_overrides(arguments))
        return arguments.run(settings, arguments)
    except SpeechError as error:
        return _complain(error.message, *getattr(error, "__notes__", ()))
    except ValidationError as error:
        faults = [f"{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors()]
        return _complain("; ".join(faults), "settings come from environment variables and .env")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains when it flushes at exit
        return 0


def build_parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    parser = argparse.ArgumentParser(
        prog="start.py", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"speech-server {version()}")
    parser.set_defaults(run=serve, host=None, port=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    serving = commands.add_parser("serve", help="fetch missing models, then serve (the default)")
    serving.add_argument("--host", help="address to listen on (or HOST)")
    serving.add_argument("--port", type=int, help="port to listen on (or PORT)")
    serving.set_defaults(run=serve)
    models.add_parser(commands)
    sample.add_parser(commands)
    doctor.add_parser(commands)
    return parser


def serve(settings: Settings, arguments: argparse.Namespace) -> int:
    """Make sure the models are there, then listen until told to stop."""
    models.prepare(settings)
    from app.main import serve as listen  # noqa: PLC0415 - a failed download is told before seconds of imports

    listen(settings)
    return 0


def version() -> str:
    """This checkout's version."""
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    try:
        return str(tomllib.loads(project.read_text("utf-8"))["project"]["version"])
    except (OSError, ValueError, KeyError):
        return "unknown"


def _open_standard_streams() -> None:
    """Fill closed descriptors 0, 1 and 2 with the null device.

    Started without them (some supervisors do), the next files and sockets opened would get these numbers, and libuv
    aborts a child process that it is to hand one of them to: no decoder would ever start.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one


def _overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {"host": arguments.host, "port": arguments.port}
    return {name: value for name, value in given.items() if value is not None}


def _complain(message: str, *hints: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    for hint in hints:
        print(f"hint: {hint}", file=sys.stderr)
    return EXIT_ERROR
