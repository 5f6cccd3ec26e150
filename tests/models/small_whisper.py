"""The recipe of a small Whisper in the real format: seeded random weights, the published vocabulary, 20 MB.

What it writes means nothing, but it is always the same for the same sound and differs between sounds, so it shows
whose words an answer holds; and it is fast enough for thousands of requests.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs.whisper_spec import WhisperSpec

WIDTH, LAYERS, HEADS, MELS = 64, 2, 2, 80
VOCABULARY = 51_865
END = 50_257
TEXTS = slice(300, 40_000)
"""Tokens it may say: whole words mostly."""
LONGEST = 14
"""It ends a text at the latest every so many tokens."""


def make_small_whisper(folder: Path, official: Path, seed: int = 5) -> Path:
    """Write the model into `folder`, with the vocabulary files of the `official` one beside it."""
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "vocabulary.txt"):
        shutil.copy(official / name, folder / name)
    config = json.loads((official / "config.json").read_text("utf-8"))
    spec = WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)
    _Filling(np.random.default_rng(seed)).fill(spec)
    spec.register_vocabulary((official / "vocabulary.txt").read_text("utf-8").splitlines()[:VOCABULARY])
    spec.validate()
    spec.save(str(folder))
    config["alignment_heads"] = [[1, 0], [1, 1]]
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


class _Filling:
    """Random weights of the right shapes. Attention is sharp, so that the sound decides."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def fill(self, spec: Any) -> None:
        encoder, decoder = spec.encoder, spec.decoder
        self._linear(encoder.conv1, (WIDTH, MELS, 3), 1.0)
        self._linear(encoder.conv2, (WIDTH, WIDTH, 3), 1.0)
        encoder.position_encodings.encodings = self._random((1500, WIDTH), 0.3)
        for layer in encoder.layer:
            self._attention(layer.self_attention, cross=False)
            self._feed_forward(layer.ffn)
        decoder.embeddings.weight = self._random((VOCABULARY, WIDTH), 0.5)
        places = self._random((448, WIDTH), 0.5)
        way_out = self._random((WIDTH,), 1.0)
        places[::LONGEST] += 20 * way_out
        decoder.position_encodings.encodings = places
        words = self._random((VOCABULARY, WIDTH), 0.8)
        silent = np.ones(VOCABULARY, bool)
        silent[TEXTS] = False
        words[silent] = 0.0
        words[END] = way_out
        decoder.projection.weight = words
        for layer in decoder.layer:
            self._attention(layer.self_attention, cross=False)
            self._attention(layer.attention, cross=True)
            self._feed_forward(layer.ffn)
        for norm in (encoder.layer_norm, decoder.layer_norm):
            self._norm(norm)

    def _random(self, shape: tuple[int, ...], scale: float) -> np.ndarray:
        return (scale * self._rng.standard_normal(shape)).astype(np.float32)

    def _linear(self, spec: Any, shape: tuple[int, ...], gain: float) -> None:
        spec.weight = self._random(shape, gain / np.sqrt(np.prod(shape[1:])))
        spec.bias = self._random(shape[:1], 0.05)

    def _norm(self, spec: Any) -> None:
        spec.gamma, spec.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def _attention(self, spec: Any, *, cross: bool) -> None:
        self._norm(spec.layer_norm)
        shapes = [(WIDTH, WIDTH), (2 * WIDTH, WIDTH)] if cross else [(3 * WIDTH, WIDTH)]
        for linear, shape in zip(spec.linear, shapes, strict=False):
            self._linear(linear, shape, 2.5 if cross else 1.0)
        self._linear(spec.linear[-1], (WIDTH, WIDTH), 3.0 if cross else 0.5)

    def _feed_forward(self, spec: Any) -> None:
        self._norm(spec.layer_norm)
        self._linear(spec.linear_0, (4 * WIDTH, WIDTH), 1.0)
        self._linear(spec.linear_1, (WIDTH, 4 * WIDTH), 1.0)
