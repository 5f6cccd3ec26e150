"""`python -m tools.levels RECORDING...`: how loud voices are, and what the near-field filter makes of them."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # python puts this folder there instead

from pydantic import ValidationError
from tqdm import tqdm

from app.audio.declared import DeclaredSound, declared_sound
from app.audio.decoding import DecoderPool
from app.audio.recording import Recording
from app.audio.suffixes import BARE_SUFFIXES
from app.domain.engines import VoiceActivityDetector
from app.domain.errors import SpeechError
from app.settings import Settings
from tools.display import printable
from tools.loudness import picture, report
from tools.loudness.figures import Figures, figures, runs
from tools.loudness.hearing import detector, hear, listen, taken_in
from tools.recordings import UnreadableError, find

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
_STDIN = "-"


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    path: Path
    declared: DeclaredSound | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for. Returns 0 when all was, 1 when something could not be, 2 when what is asked for makes
    no sense, 130 after Ctrl-C."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        settings = _settings(given.threshold)
        raw = declared_sound(f"audio/pcm;rate={given.rate};channels={given.channels}")
        with ExitStack() as stack:
            sources = _sources(given.recordings, raw, settings, stack)
            if given.picture and len(sources) != 1:
                raise UnreadableError("--picture draws one recording: name one")
            if given.picture:
                stack.enter_context(_writable(given.picture))
            return asyncio.run(_measure_all(sources, settings, given))
    except (SpeechError, UnreadableError, ValidationError, OSError) as error:
        print(f"{parser.prog}: {_told(error)}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        return INTERRUPTED


@contextmanager
def _writable(path: Path) -> Generator[None]:
    """That it can be written is known before minutes are spent on measuring. It goes again if nothing came of it.

    Raises:
        OSError: it cannot be written.
    """
    path.open("a").close()
    try:
        yield
    finally:
        if path.is_file() and not path.stat().st_size:
            path.unlink()


def _settings(threshold: float | None) -> Settings:
    """The server's, but for a threshold that is given. Raises ValidationError."""
    said: dict[str, Any] = {} if threshold is None else {"asr_nearfield_rms_threshold": threshold}
    return Settings(**said)


def _sources(places: Sequence[str], raw: DeclaredSound | None, settings: Settings, stack: ExitStack) -> list[_Source]:
    """Raises UnreadableError."""
    if places.count(_STDIN) > 1:
        raise UnreadableError("standard input (-) can be read once only")
    found: list[_Source] = []
    for place in places:
        if place == _STDIN:
            path = stack.enter_context(taken_in(sys.stdin.buffer, settings.temp_dir))
            found.append(_Source("standard input", path, raw))
            continue
        for one in find([Path(place)]):
            found.append(_Source(one.name, one.path, raw if one.path.suffix.lower() in BARE_SUFFIXES else None))
    return found


async def _measure_all(sources: Sequence[_Source], settings: Settings, given: argparse.Namespace) -> int:
    model = await asyncio.to_thread(detector, settings)
    status = OK
    async with DecoderPool(
        workers=1,
        temp_dir=settings.temp_dir,
        max_seconds=settings.max_audio_seconds,
        timeout=settings.decode_timeout_seconds,
    ) as pool:
        for number, source in enumerate(sources):
            try:
                with await pool.decode(source.path, source.declared) as recording:
                    measured = await asyncio.to_thread(_measure, source.name, recording, model, settings, given)
            except SpeechError as error:
                print(f"{printable(source.name)}: {error.message}", file=sys.stderr)
                status = FAILED
                continue
            print(_shown(source.name, measured, number, as_json=given.json), flush=True)
            if given.picture:
                current = settings.asr_nearfield_rms_threshold
                drawn = picture.draw(source.name, measured.levels, measured.spoken, current, measured.suggested)
                given.picture.write_text(drawn, encoding="utf-8")
    return status


def _measure(
    name: str,
    recording: Recording,
    model: VoiceActivityDetector | None,
    settings: Settings,
    given: argparse.Namespace,
) -> Figures:
    current = settings.asr_nearfield_rms_threshold
    total = recording.duration * (1 + runs(current))
    with tqdm(
        total=total,
        file=sys.stderr,
        disable=given.quiet or not sys.stderr.isatty(),
        leave=False,
        bar_format="{percentage:3.0f} % |{bar}| {elapsed}, {remaining} to go  {desc}",
        desc=printable(name),
    ) as bar:
        listened = listen(recording, model, bar.update)
        return figures(listened, lambda bound: hear(recording, listened, bound, bar.update), current)


def _shown(name: str, measured: Figures, number: int, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(report.machine(name, measured), ensure_ascii=False)
    return ("\n\n" if number else "") + report.text(name, measured)


def _told(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors())
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="levels.py",
        description="How loud voices are in recordings, what the near-field filter would ignore of them with which "
        "threshold, and which one to take (docs/nearfield_filter.md).",
        epilog="Exit status: 0 all was measured, 1 something could not be, 2 wrong usage, 130 after Ctrl-C.",
    )
    add = parser.add_argument
    add(
        "recordings",
        nargs="+",
        metavar="FILE",
        help="a recording in any format, a folder of them, a list (FILE.scp), or - for samples on standard input",
    )
    add("--threshold", type=float, metavar="RMS", help="the threshold that is set (ASR_NEARFIELD_RMS_THRESHOLD)")
    add("--rate", type=int, default=16_000, metavar="HZ", help="of samples without a header, - .pcm .raw (%(default)s)")
    add("--channels", type=int, default=1, metavar="N", help="of samples without a header (%(default)s)")
    add("--picture", type=Path, metavar="FILE.svg", help="draw the levels of the one recording, too")
    add("--json", action="store_true", help="an object in each line, for machines")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    sys.exit(main())
