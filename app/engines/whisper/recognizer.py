"""Whisper as a Recognizer: pieces of up to 30 s, several a call, words with times.

How it is fast on a CPU (measured by `make bench`): each call runs on one thread and several calls run at once; sound
of up to 15 s is encoded in a 15 s window (much less work than 30 s); pieces are encoded one by one and
decoded together, which is fastest for each; the language is read from the encoding that is decoded.
"""

from __future__ import annotations

import heapq
import re
import zlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import ctranslate2
import numpy as np

from app.domain.engines import Capabilities, Hypothesis, PieceRequest, WaitingRequest
from app.domain.errors import EngineFailure
from app.domain.options import RecognitionOptions
from app.domain.transcript import TokenLogprob, Word
from app.engines.whisper.alignment import timed_words, token_starts
from app.engines.whisper.features import HOP, LogMel
from app.engines.whisper.repetition import collapse
from app.engines.whisper.vocabulary import CONTEXT_TOKENS, Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_SHORT_WINDOW, _LONG_WINDOW = 15.0, 30.0
"""Seconds encoded. The model was trained on 30; shorter than 15 gains little and costs words
(`python -m benchmarks.window`)."""
_ROOM = 0.2
"""Seconds of silence a piece should leave at the end of its window."""
_MAX_SILENCE = 1.0
"""Seconds. After a longer pause Whisper often takes the piece to be over and leaves out the rest
(`python -m benchmarks.silence` counts the words lost)."""
_BATCH = 4
"""Pieces decoded together. More would make each wait longer for little gain in speed."""
_COMPRESSION_LIMIT, _LOGPROB_LIMIT, _NO_SPEECH_LIMIT = 2.4, -1.0, 0.6
"""The authors' thresholds for a failed decoding: text that repeats, text it does not believe in, no speech."""
_DECODER_POSITIONS = 448
_KEPT = 0.8
"""The part of another decoding's letters that one must have to be taken instead: text may not go missing."""
_SPARSE = 2.5
"""Chinese characters a second; half of the usual pace."""
_SHORT_SECONDS, _SHORT_BOUND = 3.0, 112
"""Pieces of up to so many seconds get so many tokens: 30 a second and some."""
_STYLE = {"zh": "没错，我们接着往下说。"}
"""What a piece in a language is told to follow when the caller gave no context: Whisper then writes Chinese with
punctuation and in simplified characters, and mishears less (`python -m benchmarks.padding`)."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One piece ready to be decoded. `encoded` is float32 of shape (1, positions, width)."""

    encoded: Floats
    seconds: float
    language: str
    languages: dict[str, float]
    prompt: list[int]
    context: bool
    style: str
    temperature: float
    beam: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Decoded:
    """One decoding of one piece."""

    piece: _Prepared
    tokens: list[int]
    text: str
    avg_logprob: float
    no_speech_prob: float
    warnings: tuple[str, ...]

    @property
    def compression_ratio(self) -> float:
        """How well the text compresses: repetition compresses well."""
        raw = self.text.encode()
        return len(raw) / len(zlib.compress(raw)) if raw else 0.0

    @property
    def repeats(self) -> bool:
        """Whether the text repeats itself beyond what people say."""
        return self.compression_ratio > _COMPRESSION_LIMIT

    @property
    def parrots(self) -> bool:
        """Whether the text is what the model was shown as style, not what was said."""
        left = _letters(self.text)
        if not left or not self.piece.style:
            return False
        for phrase in sorted(re.split(r"[，。！？]", self.piece.style), key=len, reverse=True):
            left = left.replace(phrase, "") if phrase else left
        return not left

    @property
    def sparse(self) -> bool:
        """Whether there is less text than people say in this time, even slowly."""
        return len(_letters(self.text)) < _SPARSE * self.piece.seconds

    @property
    def silent(self) -> bool:
        """Whether the model says there is no speech and does not believe its own text."""
        return self.no_speech_prob > _NO_SPEECH_LIMIT and self.avg_logprob < _LOGPROB_LIMIT

    @property
    def failed(self) -> bool:
        """Whether another way of decoding may do better."""
        return self.repeats or (self.avg_logprob < _LOGPROB_LIMIT and not self.silent)


class WhisperRecognizer:
    """See app.domain.engines.Recognizer.

    Raises:
        EngineFailure: the folder is not a CTranslate2 Whisper.
    """

    def __init__(
        self,
        model_id: str,
        folder: Path,
        *,
        threads: int,
        compute_type: str = "int8",
        beam_size: int = 5,
        window_seconds: float = _SHORT_WINDOW,
        batch_size: int = _BATCH,
        chinese_style: bool = True,
    ) -> None:
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder), device="cpu", compute_type=compute_type, inter_threads=threads, intra_threads=1
            )
        except (RuntimeError, ValueError) as error:
            raise EngineFailure(
                f"{model_id} could not be loaded: its files are missing, broken or of another kind"
            ) from error
        if not self._model.is_multilingual:
            raise EngineFailure(f"{model_id} speaks English only; a multilingual Whisper is needed")
        self.id = model_id
        self.parallel_calls = threads
        self.batch_cost = batch_size * _SHORT_WINDOW
        self._beam_size = beam_size
        self._styles = _STYLE if chinese_style else {}
        self._vocabulary = Vocabulary(folder)
        self._log_mel = LogMel(self._model.n_mels)
        self.capabilities = Capabilities(
            languages=self._vocabulary.languages,
            tasks=frozenset({"transcribe", "translate"}),
            max_seconds=_LONG_WINDOW,
            preferred_seconds=window_seconds - _ROOM,
            max_silence=_MAX_SILENCE,
            word_times=True,
            prompt=True,
            hotwords=True,
            temperature=True,
            logprobs=True,
        )

    def cost(self, request: PieceRequest | WaitingRequest) -> float:
        """Seconds the encoder computes."""
        return _window(request.piece.seconds)

    def batch_key(self, request: PieceRequest | WaitingRequest) -> Hashable:
        """Pieces of one call share the window, how they are searched, and where in the prompt the text starts."""
        options = request.options
        context, _ = self._vocabulary.context(options.prompt, _terms(options))
        seconds = request.piece.seconds
        return _window(seconds), _token_bound(seconds), options.temperature, options.draft, len(context)

    def recognize(self, requests: Sequence[PieceRequest]) -> list[Hypothesis]:
        """See Recognizer.recognize."""
        try:
            encoded = [self._encode(request, _window(request.piece.seconds)) for request in requests]
            decoded = self._decode(requests, encoded)
            mended = [self._mended(request, first) for request, first in zip(requests, decoded, strict=True)]
            return [self._hypothesis(request, best) for request, best in zip(requests, mended, strict=True)]
        except (RuntimeError, ValueError) as error:  # what CTranslate2 raises
            raise EngineFailure("Whisper failed on a piece of this recording") from error

    def close(self) -> None:
        """Free the model's memory."""
        self._model.unload_model()

    def _encode(self, request: PieceRequest, window: float) -> Floats:
        features = self._log_mel(request.piece.samples, window)
        return np.array(self._model.encode(ctranslate2.StorageView.from_array(features[None])), dtype=np.float32)

    def _languages(self, request: PieceRequest, encoded: Floats) -> dict[str, float]:
        """Probabilities of the languages the request allows."""
        if request.options.language:
            return {request.options.language: 1.0}
        detected = self._model.detect_language(ctranslate2.StorageView.from_array(encoded))[0]
        allowed = request.options.languages or self.capabilities.languages
        chances = {name[2:-2]: float(chance) for name, chance in detected if name[2:-2] in allowed}
        total = sum(chances.values())
        return {name: chance / total for name, chance in chances.items()}

    def _decode(self, requests: Sequence[PieceRequest], encoded: Sequence[Floats]) -> list[_Decoded]:
        """Decode pieces of one batch key, those with prompts of one length together."""
        pieces = [self._prepared(request, sound) for request, sound in zip(requests, encoded, strict=True)]
        by_length: dict[int, list[int]] = {}
        for index, piece in enumerate(pieces):
            by_length.setdefault(len(piece.prompt), []).append(index)
        decoded: dict[int, _Decoded] = {}
        for indices in by_length.values():
            decoded.update(zip(indices, self._generate([pieces[index] for index in indices]), strict=True))
        return [decoded[index] for index in range(len(pieces))]

    def _prepared(self, request: PieceRequest, encoded: Floats, *, context: bool = True) -> _Prepared:
        """Everything that decoding a piece needs; without `context` only the sound speaks."""
        options = request.options
        languages = self._languages(request, encoded)
        language = max(languages, key=languages.__getitem__)
        free = options.task == "transcribe" and not options.prompt and not options.hotwords
        style = self._styles.get(language, "") if free and context else ""
        before, truncated = (
            self._vocabulary.context(options.prompt or style, _terms(options)) if context else ([], False)
        )
        return _Prepared(
            encoded=encoded,
            seconds=request.piece.seconds,
            language=language,
            languages=languages,
            prompt=self._vocabulary.prompt(before, language, options.task),
            context=bool(before),
            style=style,
            temperature=options.temperature,
            beam=1 if options.temperature or options.draft else self._beam_size,
            warnings=("prompt_truncated",) if truncated else (),
        )

    def _generate(self, pieces: Sequence[_Prepared], no_repeat: int = 0) -> list[_Decoded]:
        """Decode pieces of one batch key and with prompts of one length in one call of the model."""
        temperature, prompt_length = pieces[0].temperature, len(pieces[0].prompt)
        results = self._model.generate(
            ctranslate2.StorageView.from_array(np.concatenate([piece.encoded for piece in pieces])),
            [piece.prompt for piece in pieces],
            beam_size=pieces[0].beam,
            num_hypotheses=self._beam_size if temperature else 1,
            sampling_topk=0 if temperature else 1,
            sampling_temperature=temperature or 1.0,
            max_length=min(_DECODER_POSITIONS, prompt_length + _token_bound(pieces[0].seconds)),
            no_repeat_ngram_size=no_repeat,
            suppress_tokens=self._vocabulary.suppressed,
            return_scores=True,
            return_no_speech_prob=True,
        )
        return [
            self._decoded(piece, result.sequences_ids[0], float(result.scores[0]), float(result.no_speech_prob))
            for piece, result in zip(pieces, results, strict=True)
        ]

    def _decoded(self, piece: _Prepared, raw: Sequence[int], score: float, no_speech_prob: float) -> _Decoded:
        tokens = self._vocabulary.text_tokens(raw)
        return _Decoded(
            piece=piece,
            tokens=tokens,
            text=self._vocabulary.decode(tokens).strip(),
            avg_logprob=score * len(raw) / (len(raw) + 1),  # the score is the mean without the end token
            no_speech_prob=no_speech_prob,
            warnings=piece.warnings,
        )

    def _whole(self, request: PieceRequest, first: _Decoded) -> _Decoded:
        """A decoding that lost no words to its context.

        After a prompt Whisper sometimes starts in the middle of a piece, and sometimes says the prompt. So a caller's
        context is checked against a decoding without it; the style, which is ours, only where its text is sparse.
        """
        piece = first.piece
        if not piece.context or (piece.style and not first.parrots and not first.sparse):
            return first
        plain = self._generate([self._prepared(request, piece.encoded, context=False)])[0]
        if first.parrots:
            return plain
        if _keeps_words(first, plain) or plain.failed:
            return first
        return plain if piece.style else replace(plain, warnings=(*plain.warnings, "prompt_dropped"))

    def _mended(self, request: PieceRequest, first: _Decoded) -> _Decoded:
        """A failed decoding tried again, by deterministic means only: the same sound always gives the same words.

        First without context if that cost words, then in the window the model was trained on, then forbidding
        repeated phrases; a loop that survives is cut.
        """
        if request.options.draft:
            return _cut(replace(first, tokens=[], text="") if first.parrots else first, self._vocabulary)
        best = self._whole(request, first)
        if best.failed and _window(request.piece.seconds) < _LONG_WINDOW:
            encoded = self._encode(request, _LONG_WINDOW)
            best = _better(best, self._generate([self._prepared(request, encoded, context=best.piece.context)])[0])
        if best.failed:
            best = _better(best, self._generate([best.piece], no_repeat=4)[0])
        return _cut(best, self._vocabulary)

    def _hypothesis(self, request: PieceRequest, decoded: _Decoded) -> Hypothesis:
        if decoded.silent or not decoded.text:
            decoded = replace(decoded, tokens=[], text="", warnings=(*decoded.warnings, "speech_not_recognized"))
        words: tuple[Word, ...] = ()
        logprobs: tuple[TokenLogprob, ...] = ()
        if decoded.tokens and (request.options.timed or request.options.logprobs):
            words, logprobs = self._aligned(request, decoded)
        return Hypothesis(
            text=decoded.text,
            language=decoded.piece.language,
            languages=decoded.piece.languages,
            words=words,
            tokens=tuple(decoded.tokens),
            logprobs=logprobs if request.options.logprobs else (),
            temperature=decoded.piece.temperature,
            avg_logprob=decoded.avg_logprob,
            compression_ratio=decoded.compression_ratio,
            no_speech_prob=decoded.no_speech_prob,
            audio_tokens=decoded.piece.encoded.shape[1],
            prompt_tokens=len(decoded.piece.prompt),
            warnings=decoded.warnings,
        )

    def _aligned(self, request: PieceRequest, decoded: _Decoded) -> tuple[tuple[Word, ...], tuple[TokenLogprob, ...]]:
        vocabulary, tokens = self._vocabulary, decoded.tokens
        aligned = self._model.align(
            ctranslate2.StorageView.from_array(decoded.piece.encoded),
            vocabulary.start_sequence(decoded.piece.language, request.options.task),
            [tokens],
            max(2, len(request.piece.samples) // HOP),
        )[0]
        chances = [float(chance) for chance in aligned.text_token_probs]
        starts = token_starts(aligned.alignments, len(tokens))
        written = "en" if request.options.task == "translate" else decoded.piece.language
        words = timed_words(vocabulary.words(tokens, written), tokens, starts, chances, request.piece.seconds)
        logprobs = tuple(
            TokenLogprob(vocabulary.decode([token]), vocabulary.token_bytes(token), float(np.log(max(chance, 1e-10))))
            for token, chance in zip(tokens, chances, strict=True)
        )
        return words, logprobs


def _cut(decoded: _Decoded, vocabulary: Vocabulary) -> _Decoded:
    """A decoding without the loop it may have ended in."""
    tokens = collapse(decoded.tokens) if decoded.repeats else decoded.tokens
    if len(tokens) == len(decoded.tokens):
        return decoded
    text = vocabulary.decode(tokens).strip()
    return replace(decoded, tokens=tokens, text=text, warnings=(*decoded.warnings, "repetition_cut"))


def _terms(options: RecognitionOptions) -> list[str]:
    """The heaviest hotwords, as many as could fit at most: there may be thousands, and this is asked for each piece."""
    return [hotword.text for hotword in heapq.nlargest(CONTEXT_TOKENS, options.hotwords, key=lambda one: one.weight)]


def _window(seconds: float) -> float:
    """Seconds of the window a piece is encoded in."""
    return _SHORT_WINDOW if seconds <= _SHORT_WINDOW - _ROOM else _LONG_WINDOW


def _token_bound(seconds: float) -> int:
    """More tokens than anybody can say in `seconds`: ends a loop in a short piece early. Part of the batch key."""
    return _SHORT_BOUND if seconds <= _SHORT_SECONDS else _DECODER_POSITIONS // 2


def _better(first: _Decoded, second: _Decoded) -> _Decoded:
    """The one that does not repeat itself; of two alike, the one the model believes in more, if it has the words."""
    if first.repeats != second.repeats:
        return second if first.repeats else first
    if not first.repeats and not _keeps_words(second, first):
        return first
    return second if second.avg_logprob > first.avg_logprob else first


def _keeps_words(one: _Decoded, other: _Decoded) -> bool:
    """Whether `one` has about as much text as `other`."""
    return len(_letters(one.text)) >= _KEPT * len(_letters(other.text))


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalnum())
