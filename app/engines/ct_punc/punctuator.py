"""The punctuator itself: twenty tokens at a time, each time with the unfinished sentence before them.

The same marks as FunASR's `CTTransformer.inference` gives the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.errors import EngineFailure
from app.engines.ct_punc.files import TOKENS, PunctuationFiles, read_files
from app.engines.ct_punc.segmenting import segmenter_of
from app.engines.sessions import Session, open_session, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Feed = dict[str, NDArray[np.int32] | NDArray[np.float32]]

_QUANTISED, _FULL = "model_quant.onnx", "model.onnx"
_INPUTS, _LENGTHS, _LOGITS = "inputs", "text_lengths", "logits"
_STEP = 20
"""Tokens that join the unfinished sentence each time."""
LONG = 200
"""Tokens after which an unfinished sentence ends at its last comma."""
_LONGEST = 1000
"""Tokens after which one without a comma is left as it is, but for the last `LONG`: attention costs their square."""
_COMMA, ENDS = "，", frozenset("。？")


class CtPunctuator:
    """See Punctuator. Thread-safe, one thread a call.

    Raises:
        EngineFailure: the folder does not hold the model.
    """

    languages = frozenset({"zh", "en"})

    def __init__(self, model_id: str, folder: Path) -> None:
        self.id = model_id
        self._files = read_files(folder)
        self._session = open_graph(folder, self._files, feed_of)
        self._segmenter = segmenter_of(folder)

    def marks(self, words: Sequence[str]) -> list[str]:
        """What follows each word; see Punctuator. Words of white space are passed over; the end goes behind them."""
        tokens = list(self._segmenter.tokens(words))
        settled = self._settled([self._files.ids.get(token.text, self._files.unknown) for token in tokens])
        found = [""] * len(words)
        for token, mark in zip(tokens[:-1], settled[:-1], strict=True):
            if token.word is not None:
                found[token.word] = mark
        if words:
            found[-1] = settled[-1] if settled else self._files.sentence_end
        return found

    def _settled(self, ids: list[int]) -> list[str]:
        """A mark for each token; the last one ends a sentence."""
        settled = marks_of(ids, self._scored, self._files.sentence_end)
        if settled and settled[-1] not in ENDS:
            settled[-1] = self._files.sentence_end
        return settled

    def _scored(self, ids: list[int]) -> list[str]:
        return best_marks(self._session, feed_of(ids), self._files.marks)


def marks_of(ids: list[int], scored: Callable[[list[int]], list[str]], sentence_end: str) -> list[str]:
    """A mark for each token, in steps: `scored` has those of an unfinished sentence and of what joins it."""
    settled: list[str] = []
    for end in range(_STEP, len(ids) + _STEP, _STEP):
        begin = len(settled)
        marks = scored(ids[begin:end])
        settled += marks[: _finished(marks, sentence_end)] if end < len(ids) else marks
    return settled


def last_end(marks: Sequence[str]) -> int:
    """How many tokens there are up to the last end of a sentence; 0 without one.

    The last token's mark may still change, and a sentence has at least three.
    """
    return next((place + 1 for place in range(len(marks) - 2, 1, -1) if marks[place] in ENDS), 0)


def _finished(marks: list[str], sentence_end: str) -> int:
    """How many tokens are finished with; the others are looked at again. May end a sentence at a comma."""
    if end := last_end(marks):
        return end
    if len(marks) <= LONG:
        return 0
    comma = next((place for place in range(len(marks) - 2, 1, -1) if marks[place] == _COMMA), None)
    if comma is not None:
        marks[comma] = sentence_end
        return comma + 1
    return len(marks) - LONG if len(marks) > _LONGEST else 0


def feed_of(ids: Sequence[int]) -> Feed:
    """Some tokens as every graph takes them: a batch of one."""
    return {_INPUTS: np.array([ids], dtype=np.int32), _LENGTHS: np.array([len(ids)], dtype=np.int32)}


def best_marks(session: Session, feed: Feed, marks: Sequence[str]) -> list[str]:
    """The likeliest mark after each token. Raises EngineFailure."""
    [logits] = run(session, [_LOGITS], feed, told="The punctuation model failed.")
    return [marks[int(best)] for best in logits[0].argmax(axis=-1)]


def open_graph(folder: Path, files: PunctuationFiles, feeding: Callable[[list[int]], Feed]) -> Session:
    """The graph, after it was seen to take the last token as `feeding` hands it over, and to give a score for each
    mark. The int8 one is preferred. Raises EngineFailure."""
    path = folder / (_QUANTISED if (folder / _QUANTISED).is_file() else _FULL)
    session = open_session(path)
    inputs = [tensor.name for tensor in session.get_inputs()]
    outputs = [tensor.name for tensor in session.get_outputs()]
    last = max(files.ids.values())
    feed = feeding([0, last])
    if set(inputs) != set(feed):
        raise EngineFailure(f"{path.name} takes {', '.join(inputs)} where {', '.join(feed)} are expected.")
    if _LOGITS not in outputs:
        raise EngineFailure(f"{path.name} has output {', '.join(outputs)} where {_LOGITS} is expected.")
    [logits] = run(session, [_LOGITS], feed, told=f"{path.name} cannot be run with the {last + 1} tokens of {TOKENS}.")
    shape = np.asarray(logits).shape
    if shape != (1, 2, len(files.marks)):
        given = shape[-1] if len(shape) == 3 else f"shape {shape}"
        raise EngineFailure(f"config.yaml: punc_list has {len(files.marks)} marks, {path.name} gives {given}.")
    return session
