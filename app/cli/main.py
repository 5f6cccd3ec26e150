"""The command line: serve, and everything about models, without serving."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app import __version__
from app.cli import certificate, doctor, models, odd_config, sample, streams, transcribe
from app.cli.odd_config import OddConfig
from app.domain.errors import ConfigUnusable, SpeechError
from app.settings import Settings, read_environment

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
_LAST_PORT = 65_535
_DIGITS = 5

Configure = Callable[[Path | None, bool], OddConfig]

DESCRIPTION = """\
A self-hosted speech recognition server.

Without a command it serves: models that are missing are fetched first, then it listens. Settings are environment
variables or lines in a file called .env (HOST, PORT, API_KEYS, ASR_MODEL, MODELS_DIR, MODEL_MIRRORS, ...). They win
over what a config.json of OddASR's says (-c).
"""

EPILOG = """\
examples:
  python start.py                          fetch what is missing, then serve on port 8000
  python start.py serve --port 9000        the same on another port
  python start.py doctor                   is this machine ready?
  python start.py sample                   a real phone call to try it with
  python start.py transcribe talk.mp3      a recording to text, without a server
  python start.py models pack models.tar   all models in one file, for a machine without network
"""


def main(
    argv: Sequence[str] | None = None,
    *,
    program: str = "speech-server",
    configure: Configure = odd_config.asked,
) -> int:
    """Run a command line (sys.argv when None); returns the exit status: 0 well, 1 a check failed, 2 an error.

    `program` is what it is called as. `configure` reads the file of -c (None: not given), for serving or for another
    command.
    """
    streams.open_all()
    status = _outcome(argv, program, configure)
    failure = streams.flush_all()
    if status or failure is None or isinstance(failure, BrokenPipeError):
        return status
    return _complain(f"standard output cannot be written: {failure.strerror or failure}")


def _outcome(argv: Sequence[str] | None, program: str, configure: Configure) -> int:
    try:
        arguments = build_parser(program).parse_args(argv)
        return arguments.run(_settings(configure, arguments), arguments)
    except SpeechError as error:
        return _complain(error.message, *getattr(error, "__notes__", ()))
    except ValidationError as error:
        faults = [f"{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors()]
        return _complain("; ".join(faults), "settings come from environment variables and .env")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `... | head` has seen enough
        streams.give_output_up()
        return 0


def build_parser(program: str) -> argparse.ArgumentParser:
    """All commands and their arguments."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=DESCRIPTION,
        epilog=EPILOG if program == "start.py" else EPILOG.replace("python start.py", program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"speech-server {__version__}")
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="a config.json of OddASR's")
    parser.set_defaults(run=serve, host=None, port=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    serving = commands.add_parser("serve", help="fetch missing models, then serve (the default)")
    serving.add_argument("--host", help="address to listen on (or HOST)")
    serving.add_argument("--port", type=_port, metavar="PORT", help="port to listen on (or PORT)")
    serving.add_argument(  # suppressed, or its default would replace what stands before the command
        "-c", "--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help="a config.json of OddASR's"
    )
    serving.set_defaults(run=serve)
    models.add_parser(commands)
    sample.add_parser(commands)
    doctor.add_parser(commands)
    transcribe.add_parser(commands)
    certificate.add_parser(commands)
    return parser


def serve(settings: Settings, arguments: argparse.Namespace) -> int:
    """Make sure the models are there, then listen until told to stop."""
    models.prepare(settings)
    from app.main import serve as listen  # noqa: PLC0415 - a failed download is told before seconds of imports

    listen(settings)
    return 0


def _settings(configure: Configure, arguments: argparse.Namespace) -> Settings:
    """Of a setting in several places, the command line's counts, then the environment's, .env's, the file's.

    Raises:
        ConfigUnusable: the file or .env cannot be read.
        ValidationError: a setting's value makes no sense.
    """
    serving = arguments.run is serve
    config = configure(arguments.config, serving)
    try:
        settings = Settings(**{**config.beside(read_environment()), **_overrides(arguments)})
    except UnicodeDecodeError as error:
        raise ConfigUnusable(f".env: byte {error.start} is not UTF-8") from None
    except OSError as error:
        raise ConfigUnusable(f".env cannot be read: {error.strerror}") from error
    if serving:
        config.check_tls(settings)
        settings.note(*config.notes)
    return settings


def _overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {"host": arguments.host, "port": arguments.port}
    return {name: value for name, value in given.items() if value is not None}


def _port(said: str) -> int:
    if said.isascii() and said.isdecimal() and len(said) <= _DIGITS and 1 <= int(said) <= _LAST_PORT:
        return int(said)
    raise argparse.ArgumentTypeError(f"a number from 1 to {_LAST_PORT} is expected")


def _complain(message: str, *hints: str) -> int:
    streams.complain(message, *hints)
    return EXIT_ERROR
