"""`start.py transcribe ...`: recordings to text, without a server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import logging
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from app.cli import models
from app.cli.streams import enduring, give_output_up
from app.cli.transcribing.ending import ending, leave_soon
from app.domain.errors import InvalidParameter
from app.domain.masking import Masking, MaskingStyle
from app.settings import Settings

if TYPE_CHECKING:
    from app.cli.transcribing.display import Display
    from app.cli.transcribing.outputs import Outputs
    from app.cli.transcribing.sources import Source
    from app.cli.transcribing.wishes import Wishes

CONCURRENCY = 4
MOST_AT_ONCE = 256
MAX_PROMPT_CHARACTERS = 10_000
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_NOT_FETCHED = "it is fetched by: python start.py models download"

EPILOG = """\
Recordings are files in any format, folders of them, a list (FILE.scp: a name and a path or address in each line),
http(s) addresses, or - for standard input. Exit status: 0 all was recognised and read, 1 something was not, 2 an
error, 130 after Ctrl-C.
"""


def add_parser(commands: Any) -> None:
    """Add `transcribe` to argparse's `commands`."""
    parser = commands.add_parser("transcribe", help="recordings to text, without a server", epilog=EPILOG)
    add = parser.add_argument
    add("recordings", nargs="+", metavar="FILE", help="a recording, a folder, a list (FILE.scp), an address, or -")
    add("--format", default="txt", metavar="F,F", help="txt, spk (who says what), srt, vtt, json; several with commas")
    add("--output", type=Path, metavar="DIR", help="write a file for each recording into this folder")
    add("--force", action="store_true", help="replace files that are in the folder already")
    add("--hotwords", type=Path, metavar="FILE", help="terms to listen for: one a line, with a weight after it or not")
    add("--sensitive", type=Path, metavar="FILE", help="terms that are not to be read in the text: one a line")
    add(
        "--sensitive-style", choices=get_args(MaskingStyle), help="what is made of them: * for each letter (stars), ..."
    )
    add("--concurrency", type=_count, default=CONCURRENCY, metavar="N", help="recordings at once (%(default)s)")
    add("--model", metavar="ID", help="which model recognises them (or ASR_MODEL)")
    add("--language", help="the language spoken, such as zh or en; left out, it is heard")
    add("--prompt", default="", help="text that came before, or a sample of the style wanted")
    flag = argparse.BooleanOptionalAction
    add("--itn", action=flag, help="numbers said as words in digits (as the model has it)")
    add("--punctuation", action=flag, help="marks in the text (yes, where they can be had)")
    add("--speakers", action=flag, help="tell speakers apart (with --format spk)")
    add("--keep-going", action=flag, default=True, help="go on after a recording that fails (yes)")
    add("--quiet", action="store_true", help="nothing on standard error but what fails")
    parser.set_defaults(run=transcribe)


@dataclass(frozen=True, slots=True)
class _Task:
    """What a command line asks for, read and checked."""

    sources: list[Source]
    wishes: Wishes
    outputs: Outputs
    display: Display
    concurrency: int
    keep_going: bool


def transcribe(settings: Settings, arguments: argparse.Namespace) -> int:
    """Recognise what is named; 1 if something could not be."""
    # Whoever reads how far it is may leave: it is the texts that count.
    with contextlib.redirect_stderr(enduring(sys.stderr)):
        return _transcribed(settings, arguments)


def _transcribed(settings: Settings, arguments: argparse.Namespace) -> int:
    from app.cli.transcribing.wishes import settings_for  # noqa: PLC0415 - the other commands must not pay for it

    task = _read(settings, arguments)
    ours = settings_for(task.wishes, settings, arguments.model, task.concurrency)
    with _muted() if arguments.quiet else contextlib.nullcontext():
        models.prepare(ours, absent=_NOT_FETCHED)
    _log_to(task.display, settings)
    try:
        # What is missing is not fetched meanwhile: all recordings are recognised in the same way.
        asyncio.run(_interruptible(ours.model_copy(update={"hf_hub_offline": True}), task))
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # nobody reads what is still to come
        give_output_up()
        return EXIT_FAILED
    return EXIT_FAILED if task.display.tally.failed else 0


async def _interruptible(settings: Settings, task: _Task) -> None:
    running = asyncio.ensure_future(_run(settings, task))
    with ending(running, EXIT_INTERRUPTED):
        await running


async def _run(settings: Settings, task: _Task) -> None:
    from app.cli.transcribing.running import Order, Run, measure  # noqa: PLC0415 - as above
    from app.cli.transcribing.wishes import options_of  # noqa: PLC0415
    from app.service.service import SpeechService  # noqa: PLC0415

    if task.display.measures:
        measure(task.sources, task.display.expect)
    service = SpeechService(settings)
    starting = asyncio.create_task(service.start())
    try:
        await asyncio.wait([starting])  # which leaves at once where this is cancelled, as loading cannot
        await starting
        if service.failure is not None:
            raise service.failure
        model = service.resolve(None)
        wishes = task.wishes
        options = options_of(wishes, model, service)
        order = Order(wishes.layouts, options, settings.speaker_labels, task.concurrency, task.keep_going)
        run = Run(task.sources, order, service, model, outputs=task.outputs, display=task.display)
        try:
            await run.transcribe()
        finally:
            task.display.close()
    except asyncio.CancelledError:
        leave_soon(EXIT_INTERRUPTED)
        raise
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await service.close()


def _read(settings: Settings, arguments: argparse.Namespace) -> _Task:
    """Everything that can be known to be wrong before a model is loaded.

    Raises:
        InvalidParameter: something is.
    """
    from app.cli.transcribing import sources  # noqa: PLC0415 - as above
    from app.cli.transcribing.display import display  # noqa: PLC0415
    from app.cli.transcribing.layouts import read_layouts  # noqa: PLC0415
    from app.cli.transcribing.outputs import Folder, StandardOutput  # noqa: PLC0415
    from app.cli.transcribing.terms import read_hotwords  # noqa: PLC0415
    from app.cli.transcribing.wishes import Wishes, told_apart  # noqa: PLC0415

    layouts = read_layouts(arguments.format)
    if arguments.output is None and (layouts[1:] or arguments.force):
        which = "--force" if arguments.force else "several formats"
        raise InvalidParameter(f"{which}: files are written with --output DIR only.")
    if len(arguments.prompt) > MAX_PROMPT_CHARACTERS:
        raise InvalidParameter(f"--prompt has more than {MAX_PROMPT_CHARACTERS} characters.")
    wishes = Wishes(
        layouts=layouts,
        language=arguments.language,
        prompt=arguments.prompt.strip(),
        hotwords=read_hotwords(arguments.hotwords, most=settings.max_hotwords) if arguments.hotwords else (),
        masking=_masking(settings, arguments),
        punctuation=arguments.punctuation,
        itn=arguments.itn,
        speakers=told_apart(arguments.speakers, layouts),
    )
    found = sources.find(arguments.recordings)
    if any(source.kind == "stdin" for source in found) and sys.stdin is not None and sys.stdin.isatty():
        raise InvalidParameter("- is a recording on standard input: send one there, as in: ... < talk.wav")
    shown = display(sys.stderr, quiet=arguments.quiet)
    if arguments.output is None:
        _ready_output()
        outputs: Outputs = StandardOutput(found, layouts[0], shown.write)
    else:
        outputs = Folder(arguments.output, found, layouts, force=arguments.force)
        outputs.make()
    concurrency = min(arguments.concurrency, len(found))
    return _Task(found, wishes, outputs, shown, concurrency, arguments.keep_going)


def _masking(settings: Settings, arguments: argparse.Namespace) -> tuple[Masking, ...]:
    from app.cli.transcribing.terms import read_sensitive  # noqa: PLC0415 - as above

    if arguments.sensitive is None:
        if arguments.sensitive_style is not None:
            raise InvalidParameter("--sensitive-style goes with --sensitive FILE.")
        return ()
    words = read_sensitive(arguments.sensitive, most=settings.max_hotwords)
    return (Masking(words, arguments.sensitive_style or "stars"),) if words else ()


@contextlib.contextmanager
def _muted() -> Generator[None]:
    """Nothing on standard error."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def _log_to(display: Display, settings: Settings) -> None:
    """What the house logs of faults is shown among the rest; all of it with DEBUG."""
    logging.basicConfig(
        level=logging.DEBUG if settings.debug else logging.ERROR,
        format="%(levelname)s %(name)s: %(message)s",
        handlers=[_Handler(display.note)],
    )


class _Handler(logging.Handler):
    """Passes lines on."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one on."""
        self._note(self.format(record))


def _ready_output() -> None:
    """Texts in UTF-8, whatever the locale; on a terminal as it can show them."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        terminal = sys.stdout.isatty()
        sys.stdout.reconfigure(encoding=None if terminal else "utf-8", errors="replace")


def _count(said: str) -> int:
    if not said.isascii() or not said.isdecimal() or not 1 <= int(said) <= MOST_AT_ONCE:
        raise argparse.ArgumentTypeError(f"a number from 1 to {MOST_AT_ONCE} is expected")
    return int(said)
