"""A text of any length through a model that sees a few words more at a time, and is kept to whole sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids = NDArray[np.int32]

STEP = 20
"""Tokens by which what the model sees grows."""
LONGEST = 200
"""Tokens of one sentence, above which a comma ends it."""
_ENDS = frozenset("。？")
_FIRST_END = 2
"""The first place that is looked at for the end of a sentence, in what is not the end of the text."""


def marks_of(ids: Ids, read: Callable[[Ids], Sequence[str]], end: str) -> list[str]:
    """The mark after each token, by FunASR's rule; `read` are the model's own, `end` is a full stop.

    Twenty tokens at a time are added to the sentence that is not finished yet, and the model marks all of it anew. What
    is left behind the last end of a sentence goes on to the next twenty. The last token always ends a sentence.
    """
    marks: list[str] = []
    for stop in [*range(STEP, len(ids), STEP), len(ids)] if len(ids) else []:
        read_now = list(read(ids[len(marks) : stop]))
        marks += read_now if stop == len(ids) else _finished(read_now, end)
    if marks and marks[-1] not in _ENDS:
        marks[-1] = end
    return marks


def _finished(marks: Sequence[str], end: str) -> Sequence[str]:
    """The marks up to the last end of a sentence. The very last place does not count: its next words are not known."""
    places = range(len(marks) - 2, _FIRST_END - 1, -1)
    for place in places:
        if marks[place] in _ENDS:
            return marks[: place + 1]
    comma = next((place for place in places if marks[place] == "，"), None)
    if comma is None or len(marks) <= LONGEST:
        return []
    return [*marks[:comma], end]
