"""Streaming Paraformer's two graphs as FunASR exports them: the encoder, which also weighs its steps, and the decoder,
which takes its memory of earlier tokens and gives it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from app.domain.errors import EngineFailure
from app.engines.folders import read_mapping
from app.engines.sessions import Session, open_session, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_ENCODERS, _DECODERS = ("model_quant.onnx", "model.onnx"), ("decoder_quant.onnx", "decoder.onnx")
"""int8 first: there is nothing but CPUs that a chunk of one utterance would keep busy."""
_SPEECH, _LENGTHS = "speech", "speech_lengths"
_ENCODED, _ENCODED_LENGTHS, _WEIGHTS = "enc", "enc_len", "alphas"
_EMBEDS, _COUNTS = "acoustic_embeds", "acoustic_embeds_len"
_CHOSEN = "sample_ids"
_IN_MEMORY, _OUT_MEMORY = "in_cache_", "out_cache_"
_FAILED = "Streaming Paraformer failed on this utterance."
CONFIG = "config.yaml"
_USUAL = MappingProxyType({"threshold": 1.0, "tail_threshold": 0.45})
_NO_WEIGHTS = f"{CONFIG}: {' and '.join(_USUAL)} of predictor_conf are no weights."


@dataclass(frozen=True, slots=True)
class Figures:
    """What config.yaml says of the graphs: the encoder's width, when a token is complete, and how much of one an
    utterance's end is worth."""

    width: int
    threshold: float
    tail: float

    @classmethod
    def read(cls, folder: Path) -> Figures:
        """Raises EngineFailure."""
        config = read_mapping(folder / CONFIG)
        width = _part(config, "encoder_conf").get("output_size")
        if not isinstance(width, int) or not 0 < width <= 8192:
            raise EngineFailure(f"{CONFIG}: encoder_conf needs output_size.")
        predictor = _part(config, "predictor_conf")
        threshold, tail = (predictor.get(name, usual) for name, usual in _USUAL.items())
        if not isinstance(threshold, int | float) or not isinstance(tail, int | float):
            raise EngineFailure(_NO_WEIGHTS)
        if not 0 <= tail <= threshold or not threshold:  # without a threshold no token would ever be complete
            raise EngineFailure(_NO_WEIGHTS)
        return cls(width, float(threshold), float(tail))


def _part(config: Mapping[str, object], name: str) -> dict[str, object]:
    said = config.get(name)
    return cast("dict[str, object]", said) if isinstance(said, dict) else {}


class Encoder:
    """Features to encoded steps and their weights. Thread-safe.

    Raises:
        EngineFailure: `folder` does not hold the graph, or it does not fit the features or the width.
    """

    def __init__(self, folder: Path, *, size: int, width: int) -> None:
        path = _first_of(folder, _ENCODERS)
        self.file = path.name
        self._session = open_session(path)
        _check_names(path, self._session, (_SPEECH, _LENGTHS), (_ENCODED, _WEIGHTS))
        _check_size(path, _SPEECH, self._session.get_inputs()[0].shape, size, f"{CONFIG} and am.mvn say")
        _check_size(path, _ENCODED, self._session.get_outputs()[0].shape, width, f"encoder_conf of {CONFIG} says")

    def __call__(self, features: Floats, *, told: str = _FAILED) -> tuple[Floats, Floats]:
        """Encoded steps float32 (n, width) and weights float32 (n,) of features float32 (n, size). `told` is what is
        said where it fails.

        Raises:
            EngineFailure: the graph failed.
        """
        feed = {_SPEECH: features[None], _LENGTHS: np.array([len(features)], np.int32)}
        encoded, weights = map(np.asarray, run(self._session, [_ENCODED, _WEIGHTS], feed, told=told))
        if not (np.isfinite(encoded).all() and np.isfinite(weights).all()):
            raise EngineFailure("Streaming Paraformer gave something that is not a number for this utterance.")
        return encoded[0], weights[0]


class Decoder:
    """Embeddings of tokens to tokens. Thread-safe: what it remembers of an utterance is its caller's.

    Raises:
        EngineFailure: `folder` does not hold the graph, or it does not fit the vocabulary or the width.
    """

    def __init__(self, folder: Path, *, vocabulary: int, width: int) -> None:
        path = _first_of(folder, _DECODERS)
        self.file = path.name
        self._session = open_session(path)
        shapes = {tensor.name: tensor.shape for tensor in self._session.get_inputs()}
        layers = sum(name.startswith(_IN_MEMORY) for name in shapes)
        self._taken = [f"{_IN_MEMORY}{layer}" for layer in range(layers)]
        self._given = [f"{_OUT_MEMORY}{layer}" for layer in range(layers)]
        expected = (_ENCODED, _ENCODED_LENGTHS, _EMBEDS, _COUNTS, *self._taken)
        _check_names(path, self._session, expected, (_CHOSEN, *self._given))
        for name in (_ENCODED, _EMBEDS):
            _check_size(path, name, shapes[name], width, f"encoder_conf of {CONFIG} says")
        logits = next((one.shape for one in self._session.get_outputs() if one.name == "logits"), [None])
        _check_size(path, "logits", logits, vocabulary, "tokens.json has")
        sizes = [shapes[name][1:] for name in self._taken]
        if not all(isinstance(size, int) for shape in sizes for size in shape):
            raise EngineFailure(f"{path.name}: {_IN_MEMORY}0 and the others have no fixed size.")
        self.nothing: tuple[Floats, ...] = tuple(np.zeros((1, *shape), np.float32) for shape in sizes)
        """What it remembers at the start of an utterance."""

    def __call__(
        self, encoded: Floats, embeds: Floats, memory: Sequence[Floats], *, told: str = _FAILED
    ) -> tuple[list[int], list[Floats]]:
        """The token of each embedding, float32 (tokens, width) and not none, which may attend to `encoded`, float32
        (steps, width); and what is to be handed in as `memory` with the next ones. `told` is said where it fails.

        Raises:
            EngineFailure: the graph failed.
        """
        feed: dict[str, NDArray[Any]] = {
            _ENCODED: encoded[None],
            _ENCODED_LENGTHS: np.array([len(encoded)], np.int32),
            _EMBEDS: embeds[None],
            _COUNTS: np.array([len(embeds)], np.int32),
            **dict(zip(self._taken, memory, strict=True)),
        }
        chosen, *given = run(self._session, [_CHOSEN, *self._given], feed, told=told)
        # Some exports give more than they take: what is nearest counts.
        kept = [np.asarray(one)[..., -was.shape[-1] :] for one, was in zip(given, self.nothing, strict=True)]
        return [int(token) for token in np.asarray(chosen)[0]], kept


def _first_of(folder: Path, names: Sequence[str]) -> Path:
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[-1])


def _check_names(path: Path, session: Session, taken: Sequence[str], given: Sequence[str]) -> None:
    inputs = [tensor.name for tensor in session.get_inputs()]
    outputs = [tensor.name for tensor in session.get_outputs()]
    if set(inputs) != set(taken) or not set(given) <= set(outputs):
        raise EngineFailure(
            f"{path.name} is not of a streaming Paraformer: it takes {', '.join(inputs)}, gives {', '.join(outputs)}."
        )


def _check_size(path: Path, tensor: str, shape: Sequence[int | str | None], size: int, says: str) -> None:
    if isinstance(shape[-1], int) and shape[-1] != size:
        raise EngineFailure(f"{path.name}: {tensor} has {shape[-1]} columns, {says} {size}.")
