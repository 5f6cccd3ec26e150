"""The recogniser: pieces to features, features to tokens, tokens to words with times and confidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.engines import SAMPLE_RATE, Capabilities, Hypothesis, PieceRequest, WaitingRequest
from app.domain.options import RecognitionOptions
from app.domain.transcript import TokenLogprob, Word, join_words
from app.engines.paraformer.biasing import BiasEncoder
from app.engines.paraformer.features import FrontEnd
from app.engines.paraformer.files import read_spellings, read_vocabulary
from app.engines.paraformer.graph import AcousticModel, Scores
from app.engines.paraformer.language_model import NgramModel
from app.engines.paraformer.timing import token_times
from app.engines.paraformer.tokens import Spelled, Tokens
from app.engines.sessions import has_cuda

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples

    Floats = NDArray[np.float32]

_LEAD, _TAIL = 0.1, 0.2
"""Seconds of quiet put around a piece: speech that touches an end is misheard there otherwise."""
_QUIET = 1 / 32768
"""How loud that quiet is: one step of 16-bit sound, as the models heard it in training (Kaldi's dither). Digital
silence is what no microphone gives, and makes it hear things (tests/engines/test_paraformer.py compares)."""
_PREFERRED_SECONDS = 20.0
_LONGEST_SECONDS = 60.0
_MAX_SILENCE = 0.8
"""Seconds. It makes words of silence, and was trained on what FunASR's detector cuts at such pauses."""
_GPU_BATCH_SECONDS = 240.0
_GPU_BUCKET = 1.25
"""Pieces that share a call on a GPU differ in length by less than this factor: less than a fifth of it is padding."""


class ParaformerRecognizer:
    """Paraformer, or SeACo-Paraformer if the folder holds its bias encoder; see Recognizer.

    On a CPU each piece is a call of its own: int8 scales over everything in a call, so that a neighbour could change
    another's words, and padding costs more than batching wins. On a GPU pieces of like length share a call.

    Raises:
        EngineFailure: the folder does not hold the model; the message names the file and what is wrong with it.
    """

    def __init__(
        self,
        model_id: str,
        folder: Path,
        *,
        threads: int,
        device: str = "cpu",
        language_model: Callable[[Sequence[str]], NgramModel | None] = lambda _: None,
    ) -> None:
        """`language_model` opens one for the vocabulary's tokens, if there is one."""
        cuda = device != "cpu" and has_cuda()
        self.id = model_id
        self._front_end = FrontEnd(folder)
        self._tokens = Tokens(read_vocabulary(folder), read_spellings(folder))
        self._model = AcousticModel(
            folder,
            vocabulary=len(self._tokens),
            size=self._front_end.size,
            seconds=self._front_end.seconds,
            cuda=cuda,
        )
        self._bias = BiasEncoder(folder, self._tokens) if self._model.biased else None
        self._language_model = language_model(self._tokens.all)
        self._batched = cuda and not self._model.quantised
        self.parallel_calls = 1 if cuda else threads
        self.batch_cost = _GPU_BATCH_SECONDS if self._batched else 0.0
        self.capabilities = Capabilities(
            languages=frozenset({"zh", "en"}),
            tasks=frozenset({"transcribe"}),
            max_seconds=_LONGEST_SECONDS,
            preferred_seconds=_PREFERRED_SECONDS,
            max_silence=_MAX_SILENCE,
            word_times=True,
            hotwords=self._bias is not None,
            logprobs=True,
            punctuates=False,
            writes_numbers=False,
            detects_language=False,
            language_model=self._language_model is not None,
        )
        self._warm_up()

    @property
    def tokens(self) -> tuple[str, ...]:
        """The vocabulary, by id."""
        return self._tokens.all

    def cost(self, request: PieceRequest | WaitingRequest) -> float:
        """Seconds of the piece, and of the silence put around it."""
        return request.piece.seconds + _LEAD + _TAIL

    def batch_key(self, request: PieceRequest | WaitingRequest) -> Hashable:
        """On a GPU, length and hotwords; on a CPU nothing shares a call (the cost of one fills it)."""
        bucket = math.floor(math.log(self.cost(request), _GPU_BUCKET)) if self._batched else 0
        return bucket, request.options.hotwords if self._bias else ()

    def recognize(self, requests: Sequence[PieceRequest]) -> list[Hypothesis]:
        """See Recognizer.recognize."""
        return self._recognize(requests) if self._batched else [self._recognize([one])[0] for one in requests]

    def close(self) -> None:
        """The sessions go with the object."""

    def _recognize(self, requests: Sequence[PieceRequest]) -> list[Hypothesis]:
        features = [self._front_end(padded(request.piece.samples)) for request in requests]
        bias = self._bias(requests[0].options.hotwords) if self._bias else None
        scores = self._model.run(features, bias)
        return [
            self._hypothesis(request, len(heard), one)
            for request, heard, one in zip(requests, features, scores, strict=True)
        ]

    def _hypothesis(self, request: PieceRequest, features: int, scores: Scores) -> Hypothesis:
        ids = self._chosen(scores.log_probs)
        # Times are asked for the tokens that stand for sound; the others are left out by id, wherever they stand.
        places = [place for place, number in enumerate(ids) if number not in self._tokens.unheard]
        kept = [ids[place] for place in places]
        chances = scores.log_probs[places, kept] if kept else np.zeros(0, dtype=np.float32)
        words = self._words(self._tokens.words(kept), kept, chances, token_times(scores.weights, len(kept)))
        words = [_clamped(word, request.piece.seconds) for word in words]
        text = join_words(tuple(words))
        return Hypothesis(
            text=text,
            language=(language := _language(request.options, text)),
            languages={language: 1.0},
            words=tuple(words),
            tokens=tuple(kept),
            logprobs=self._logprobs(kept, chances) if request.options.logprobs else (),
            temperature=0.0,
            avg_logprob=float(chances.mean()) if len(chances) else None,
            audio_tokens=features,
            warnings=() if text else ("speech_not_recognized",),
        )

    def _chosen(self, log_probs: Floats) -> list[int]:
        if self._language_model is not None:
            return self._language_model.decode(log_probs, self._tokens.unheard)
        return [int(number) for number in log_probs.argmax(axis=-1)] if len(log_probs) else []

    def _words(
        self, spelled: Sequence[Spelled], ids: Sequence[int], chances: Floats, times: Sequence[tuple[float, float]]
    ) -> list[Word]:
        made: list[Word] = []
        after_latin = False
        for word in spelled:
            span = slice(word.first, word.last)
            made.append(
                Word(
                    text=word.text,
                    start=times[word.first][0] - _LEAD,
                    end=times[word.last - 1][1] - _LEAD,
                    confidence=float(np.exp(chances[span].mean())),
                    space_before=after_latin and word.latin,
                    tokens=tuple(ids[span]),
                )
            )
            after_latin = word.latin
        return made

    def _logprobs(self, ids: Sequence[int], chances: Floats) -> tuple[TokenLogprob, ...]:
        texts = [self._tokens.all[number] for number in ids]
        return tuple(
            TokenLogprob(text, text.encode(), float(chance)) for text, chance in zip(texts, chances, strict=True)
        )

    def _warm_up(self) -> None:
        """One short run, so that a graph that cannot be run is found at start."""
        silence = np.zeros(SAMPLE_RATE // 2, dtype=np.float32)
        self._model.run([self._front_end(silence)], self._bias(()) if self._bias else None)


def padded(samples: Samples) -> Samples:
    """A piece with quiet around it, as the recogniser hears it. The same piece always gets the same quiet."""
    lead, tail = round(_LEAD * SAMPLE_RATE), round(_TAIL * SAMPLE_RATE)
    quiet = np.random.default_rng(0).standard_normal(lead + tail, dtype=np.float32) * np.float32(_QUIET)
    return np.concatenate([quiet[:lead], samples, quiet[lead:]])


def language_of(text: str) -> str:
    """The language a text is written in: Chinese as soon as it has a Chinese character, else English."""
    return "zh" if not text or any("\u3400" <= character <= "\u9fff" for character in text) else "en"


def _language(options: RecognitionOptions, text: str) -> str:
    """What the caller says is spoken; else what the text is written in, or the first candidate if that is none."""
    written = language_of(text)
    candidates = options.languages or (written,)
    return options.language or (written if written in candidates else candidates[0])


def _clamped(word: Word, seconds: float) -> Word:
    """The word within its piece."""
    start = min(max(word.start, 0.0), seconds)
    return Word(
        text=word.text,
        start=start,
        end=min(max(word.end, start), seconds),
        confidence=word.confidence,
        space_before=word.space_before,
        tokens=word.tokens,
    )
