"""The recogniser, and an utterance on its way through it: sound to chunks of features, features to encoded steps, steps
to tokens, tokens to text that only grows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.engines import SAMPLE_RATE
from app.domain.errors import EngineFailure
from app.engines.paraformer.files import read_vocabulary
from app.engines.paraformer.tokens import Tokens
from app.engines.paraformer_online.features import FeatureStream, FrontEnd
from app.engines.paraformer_online.firing import Firing
from app.engines.paraformer_online.graphs import Decoder, Encoder, Figures
from app.engines.paraformer_online.growing import GrowingText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from app.domain.engines import Samples

    Floats = NDArray[np.float32]

_BEHIND, _NOW, _AHEAD = 10, 10, 5
"""Features of a call: heard before, of which text is made, and heard to understand those.

FunASR's torch model remembers the keys of four chunks instead of hearing a feature again, which exported graphs have no
inputs for; its ONNX runtimes hear five again. With ten the small model makes fewer mistakes than with either
(tests/parity counts them), and they cost a tenth at most: a call's time goes into reading weights.
"""
_LOOK_BACK = 10
"""Encoded steps of the chunk before that tokens may attend to, too: a chunk of them."""
_TAIL = 0.2
"""Seconds of quiet put behind an utterance: its last word is missed otherwise, as with the recogniser for whole
pieces."""
_QUIET = 1 / 32768
"""How loud that quiet is: one step of 16-bit sound. Digital silence is what no microphone gives."""


class OnlineParaformer:
    """See StreamingRecognizer.

    Raises:
        EngineFailure: the folder does not hold the model; the message names the file and what is wrong with it.
    """

    languages = frozenset({"zh", "en"})

    def __init__(self, model_id: str, folder: Path) -> None:
        self.id = model_id
        self.figures = Figures.read(folder)
        self.front_end = FrontEnd(folder, self.figures.width)
        self.tokens = Tokens(read_vocabulary(folder), {})
        self.encoder = Encoder(folder, size=self.front_end.size, width=self.figures.width)
        self.decoder = Decoder(folder, vocabulary=len(self.tokens), width=self.figures.width)
        self._warm_up()

    @property
    def chunk_seconds(self) -> float:
        """See StreamingRecognizer.chunk_seconds."""
        return _NOW * self.front_end.samples / SAMPLE_RATE

    def open(self) -> OnlineStream:
        """A stream for one utterance."""
        return OnlineStream(self)

    def _warm_up(self) -> None:
        """One short run, so that graphs that cannot be run are found at start."""
        window = np.zeros((_BEHIND + _NOW + _AHEAD, self.front_end.size), np.float32)
        encoded, _ = self.encoder(window, told=f"{self.encoder.file} cannot be run.")
        memory: Sequence[Floats] = self.decoder.nothing
        for count in (2, 1):
            _, memory = self.decoder(encoded, encoded[:count], memory, told=f"{self.decoder.file} cannot be run.")


class OnlineStream:
    """See RecognizerStream."""

    def __init__(self, model: OnlineParaformer) -> None:
        self._model = model
        self._sound = np.zeros(0, np.float32)
        self._features = FeatureStream(model.front_end)
        self._heard = np.zeros((_BEHIND + _AHEAD, model.front_end.size), np.float32)
        self._firing = Firing(model.figures.width, model.figures.threshold)
        self._memory: Sequence[Floats] = model.decoder.nothing
        self._attended = np.zeros((0, model.figures.width), np.float32)
        self._text = GrowingText(model.tokens)
        self._sounded = self._ended = False

    @property
    def tokens(self) -> tuple[int, ...]:
        """What was heard so far, as ids of the vocabulary."""
        return self._text.ids

    def push(self, samples: Samples, *, last: bool = False) -> str:
        """See RecognizerStream.push."""
        if self._ended:
            raise EngineFailure("This utterance has ended; nothing can be added to it.")
        self._ended = last
        self._sounded = self._sounded or len(samples) > 0
        # Chunks begin where they would if all sound came at once, so that how it comes changes nothing.
        sound = np.concatenate([self._sound, samples, *([_quiet()] if last else [])])
        chunk = _NOW * self._model.front_end.samples
        whole = len(sound) - len(sound) % chunk
        for start in range(0, whole, chunk):
            self._hear(self._features.push(sound[start : start + chunk], last=False), last=False)
        self._sound = sound[whole:].copy()
        if last and self._sounded:
            self._hear(self._features.push(self._sound, last=True), last=True)
        return self._text.whole() if last else self._text.settled()

    def _hear(self, features: Floats, *, last: bool) -> None:
        """One chunk: up to `_NOW` new features; of the last one, what is ahead counts, too."""
        window = np.concatenate([self._heard, features])
        self._heard = window[-(_BEHIND + _AHEAD) :]
        encoded, weights = self._model.encoder(window)
        steps = slice(_BEHIND, None if last else _BEHIND + _NOW)
        new, weights = encoded[steps], weights[steps]
        if last:  # an end is worth a part of a token
            new = np.concatenate([new, np.zeros_like(new[:1])])
            weights = np.append(weights, np.float32(self._model.figures.tail))
        embeds = self._firing.push(new, weights)
        if len(embeds):
            around = np.concatenate([self._attended, encoded])
            tokens, self._memory = self._model.decoder(around, embeds, self._memory)
            self._attended = around[-_LOOK_BACK:]
            self._text.add([token for token in tokens if token not in self._model.tokens.unheard])


def _quiet() -> Floats:
    """Always the same."""
    noise = np.random.default_rng(0).standard_normal(round(_TAIL * SAMPLE_RATE), dtype=np.float32)
    return noise * np.float32(_QUIET)
