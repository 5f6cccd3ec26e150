"""How long recordings are, as their headers say: for a progress bar, so the first guess will do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from app.audio.measuring import measured
from app.cli.transcribing.sources import Source

_BYTES_A_SECOND = 32_000
"""Of sound without a header: 16-bit samples of one channel at 16 kHz."""


def lengths(sources: Sequence[Source]) -> Iterator[tuple[int, float]]:
    """The number and seconds of each recording that says how long it is. Reads files: not for the event loop."""
    told: list[int] = []
    for number, source in enumerate(sources):
        # Nothing is known of what is no regular file, and reading it could take for ever.
        if source.kind != "file" or (size := _size(Path(source.place))) is None:
            continue
        if source.is_bare:
            yield number, size / _BYTES_A_SECOND
        else:
            told.append(number)
    seconds = measured(Path(sources[number].place) for number in told)
    for number, found in zip(told, seconds, strict=False):
        if found is not None:
            yield number, found


def _size(path: Path) -> int | None:
    """In bytes."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):  # recognition will tell what is wrong with it
        return None
