"""The punctuator itself: twenty tokens at a time, each time with the unfinished sentence before them.

The same marks as FunASR's `CTTransformer.inference` gives the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from app.domain.errors import EngineFailure
from app.engines.ct_punc.files import TOKENS, PunctuationFiles, read_files
from app.engines.ct_punc.segmenting import segmenter_of

_QUANTISED, _FULL = "model_quant.onnx", "model.onnx"
_INPUTS, _LENGTHS, _LOGITS = "inputs", "text_lengths", "logits"
_STEP = 20
"""Tokens that join the unfinished sentence each time."""
_LONG = 200
"""Tokens after which an unfinished sentence ends at its last comma."""
_LONGEST = 1000
"""Tokens after which one without a comma is left as it is, but for the last `_LONG`: attention costs their square."""
_COMMA, _ENDS = "，", frozenset("。？")


class CtPunctuator:
    """See Punctuator. Thread-safe, one thread a call.

    Raises:
        EngineFailure: the folder does not hold the model.
    """

    languages = frozenset({"zh", "en"})

    def __init__(self, model_id: str, folder: Path) -> None:
        self.id = model_id
        self._files = read_files(folder)
        self._session = _open(folder / (_QUANTISED if (folder / _QUANTISED).is_file() else _FULL), self._files)
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
        settled: list[str] = []
        for end in range(_STEP, len(ids) + _STEP, _STEP):
            begin = len(settled)
            marks = self._scored(ids[begin:end])
            settled += marks[: _finished(marks, self._files.sentence_end)] if end < len(ids) else marks
        if settled and settled[-1] not in _ENDS:
            settled[-1] = self._files.sentence_end
        return settled

    def _scored(self, ids: list[int]) -> list[str]:
        feed = {
            _INPUTS: np.array([ids], dtype=np.int32),
            _LENGTHS: np.array([len(ids)], dtype=np.int32),
        }
        try:
            logits = np.asarray(self._session.run([_LOGITS], feed)[0])
        except Exception as error:  # ONNX Runtime's errors have no ancestor of their own
            raise EngineFailure("The punctuation model failed.") from error
        return [self._files.marks[best] for best in logits[0].argmax(axis=-1).tolist()]


def _finished(marks: list[str], sentence_end: str) -> int:
    """How many tokens are finished with; the others are looked at again. May end a sentence at a comma.

    The last token's mark may still change, and a sentence has at least three.
    """
    places = range(len(marks) - 2, 1, -1)
    end = next((place for place in places if marks[place] in _ENDS), None)
    if end is not None:
        return end + 1
    if len(marks) <= _LONG:
        return 0
    comma = next((place for place in places if marks[place] == _COMMA), None)
    if comma is not None:
        marks[comma] = sentence_end
        return comma + 1
    return len(marks) - _LONG if len(marks) > _LONGEST else 0


def _open(path: Path, files: PunctuationFiles) -> ort.InferenceSession:
    """The graph, after it was seen to take the last token and to give a score for each mark. Raises EngineFailure."""
    if not path.is_file():
        raise EngineFailure(f"{path.name} is missing.")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # the compute budget is spent across requests, not inside one
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no ancestor of their own, and name folders
        raise EngineFailure(f"{path.name} is not an ONNX graph, or not all of it is there.") from error
    inputs = [tensor.name for tensor in session.get_inputs()]
    outputs = [tensor.name for tensor in session.get_outputs()]
    if set(inputs) != {_INPUTS, _LENGTHS}:
        raise EngineFailure(f"{path.name} takes {', '.join(inputs)} where {_INPUTS}, {_LENGTHS} are expected.")
    if _LOGITS not in outputs:
        raise EngineFailure(f"{path.name} has output {', '.join(outputs)} where {_LOGITS} is expected.")
    last = max(files.ids.values())
    feed = {_INPUTS: np.array([[0, last]], dtype=np.int32), _LENGTHS: np.array([2], dtype=np.int32)}
    try:
        shape = np.asarray(session.run([_LOGITS], feed)[0]).shape
    except Exception as error:  # ONNX Runtime's errors have no ancestor of their own
        raise EngineFailure(f"{path.name} cannot be run with the {last + 1} tokens of {TOKENS}.") from error
    if shape != (1, 2, len(files.marks)):
        given = shape[-1] if len(shape) == 3 else f"shape {shape}"
        raise EngineFailure(f"config.yaml: punc_list has {len(files.marks)} marks, {path.name} gives {given}.")
    return session
