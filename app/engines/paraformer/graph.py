"""The acoustic graph on ONNX Runtime: features in, a score for every token and the weights that time them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.errors import EngineFailure
from app.engines.paraformer.exposing import COUNT, with_weights
from app.engines.paraformer.timing import Weights
from app.engines.sessions import open_session, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

QUANTISED, FULL, HALF = "model_quant.onnx", "model.onnx", "model_fp16.onnx"
_ON_CPU, _ON_GPU = (QUANTISED, FULL, HALF), (HALF, FULL, QUANTISED)
"""What is taken first where a folder holds several. int8 is slower than fp32 on a GPU, fp16 than fp32 on a CPU."""
BIAS = "bias_embed"
_SPEECH, _LENGTHS = "speech", "speech_lengths"
_LOGITS, _ALPHAS = "logits", "alphas"
_FINE_ALPHAS, _FINE_PEAKS = "us_alphas", "us_cif_peak"
_FINER = 3
"""Steps to a feature of the finer weights."""
_KINDS = {"tensor(float16)": np.float16}
"""What an input takes, by ONNX Runtime's name for it, where that is not float32."""
_NO_TOKENS = "Invalid input shape: {0}"
"""How ONNX Runtime says that there is nothing to decode in all of the call: the decoder cannot do with no token."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What the graph says of one piece: natural-log probabilities float32 (tokens, vocabulary), and the weights."""

    log_probs: Floats
    weights: Weights


_NOTHING = Scores(np.zeros((0, 0), np.float32), Weights(np.zeros(0, np.float32), None, 1.0))


class AcousticModel:
    """Paraformer's graph, with or without a bias input and finer weights. Thread-safe.

    Raises:
        EngineFailure: `folder` does not hold the graph, or it does not fit the vocabulary or the features.
    """

    def __init__(self, folder: Path, *, vocabulary: int, size: int, seconds: float, cuda: bool = False) -> None:
        """`size` is that of a feature, `seconds` the time it stands for."""
        self._seconds = seconds
        name = next((name for name in (_ON_GPU if cuda else _ON_CPU) if (folder / name).is_file()), FULL)
        path = folder / name
        self.quantised = name == QUANTISED
        self._session = open_session(path, cuda=cuda)
        inputs = {tensor.name: tensor.shape for tensor in self._session.get_inputs()}
        self._kinds = {tensor.name: _KINDS.get(tensor.type, np.float32) for tensor in self._session.get_inputs()}
        outputs = [tensor.name for tensor in self._session.get_outputs()]
        if not {_SPEECH, _LENGTHS} <= inputs.keys() or not {_LOGITS, COUNT} <= set(outputs):
            raise EngineFailure(f"{path.name} is not a Paraformer: it takes {_names(inputs)}, gives {_names(outputs)}.")
        self.biased = BIAS in inputs
        self._check(path.name, _SPEECH, inputs[_SPEECH], size, "config.yaml and am.mvn")
        shapes = {tensor.name: tensor.shape for tensor in self._session.get_outputs()}
        self._check(path.name, _LOGITS, shapes[_LOGITS], vocabulary, "tokens.json")
        self._fine = {_FINE_ALPHAS, _FINE_PEAKS} <= set(outputs)
        self._weights = _FINE_ALPHAS if self._fine else _ALPHAS
        if not self._fine and _ALPHAS not in outputs:
            self._weights, content = with_weights(path)
            self._session = open_session(path, content=content, cuda=cuda)

    @staticmethod
    def _check(file: str, tensor: str, shape: Sequence[int | str | None], size: int, source: str) -> None:
        if isinstance(shape[-1], int) and shape[-1] != size:
            raise EngineFailure(f"{file}: {tensor} has {shape[-1]} columns, {source} say {size}.")

    def run(self, features: Sequence[Floats], bias: Floats | None = None) -> list[Scores]:
        """Scores of each piece. `bias` are embeddings of hotwords, float32 (terms, size), for a biased graph.

        Raises:
            EngineFailure: the graph failed.
        """
        lengths = np.array([len(one) for one in features], dtype=np.int32)
        shape = len(features), int(lengths.max()), features[0].shape[1]
        speech = np.zeros(shape, dtype=self._kinds[_SPEECH])
        for row, one in zip(speech, features, strict=True):
            row[: len(one)] = one
        feed = {_SPEECH: speech, _LENGTHS: lengths}
        if bias is not None:
            feed[BIAS] = np.repeat(bias[None].astype(self._kinds[BIAS]), len(features), axis=0)
        wanted = [_LOGITS, COUNT, self._weights, *([_FINE_PEAKS] if self._fine else [])]
        try:
            outputs = run(self._session, wanted, feed, told="Paraformer failed on a piece of this recording.")
        except EngineFailure as failure:
            if _NO_TOKENS not in str(failure.__cause__):
                raise
            return [_NOTHING] * len(features)
        logits, counts, alphas, *peaks = map(np.asarray, outputs)
        _check_numbers(alphas)
        return [
            Scores(
                _log_softmax(logits[row, : min(int(counts[row]), logits.shape[1])]),
                self._piece_weights(int(lengths[row]), alphas[row], peaks[0][row] if peaks else None),
            )
            for row in range(len(features))
        ]

    def _piece_weights(self, length: int, alphas: Floats, peaks: Floats | None) -> Weights:
        """One piece's own steps, without what pads it to the longest of its call."""
        if peaks is None:
            steps = length + 1  # one more, for what is left at the end
            return Weights(alphas[:steps].astype(np.float32), None, self._seconds)
        steps = length * _FINER
        return Weights(alphas[:steps].astype(np.float32), peaks[:steps].astype(np.float32), self._seconds / _FINER)


def _log_softmax(scores: Floats) -> Floats:
    """Scores as log probabilities; those that are already stay what they are."""
    scores = scores.astype(np.float32)
    if not scores.size:
        return scores
    top = scores.max(axis=-1, keepdims=True)
    _check_numbers(top)
    return scores - top - np.log(np.exp(scores - top).sum(axis=-1, keepdims=True))


def _check_numbers(values: Floats) -> None:
    """More than fp16 can hold would be an empty text, or another one; EngineFailure says so."""
    if not np.isfinite(values).all():
        raise EngineFailure("Paraformer gave something that is not a number for a piece of this recording.")


def _names(tensors: object) -> str:
    return ", ".join(str(name) for name in tensors) if isinstance(tensors, list | dict) else ""
