"""What a waiting person sees, on stderr, so that stdout holds the tables only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from tqdm import tqdm as Bar  # noqa: N812 - generic in the stubs only


def bar(label: str, total: int | None) -> Bar[object]:
    """A progress bar of `total` steps; a context manager."""
    return tqdm(total=total, desc=f"{label:<44}", file=sys.stderr, leave=True, dynamic_ncols=True, mininterval=0.5)


def note(text: str) -> None:
    """One line."""
    tqdm.write(text, file=sys.stderr)
