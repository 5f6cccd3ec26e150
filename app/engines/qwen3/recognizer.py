"""Qwen3-ASR behind its vLLM process: pieces in, words with times and confidence out."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from app.domain.engines import (
    SAMPLE_RATE,
    Aligner,
    Capabilities,
    Hypothesis,
    PieceRequest,
    Said,
    SpeechSpan,
    WaitingRequest,
    Watched,
)
from app.domain.errors import EngineFailure, ModelUnavailable
from app.domain.meters import Meter
from app.domain.options import RecognitionOptions
from app.domain.transcript import TokenLogprob, Word
from app.engines.qwen3.alignment import aligner_words, placed
from app.engines.qwen3.languages import LANGUAGES, code_of, model_name
from app.engines.qwen3.link import RefusedError, Token
from app.engines.qwen3.outputs import Answer, Output
from app.engines.qwen3.plans import question
from app.engines.qwen3.process import EngineProcess
from app.engines.qwen3.prompts import harmless, recognition_prompt
from app.engines.qwen3.vocabulary import Vocabulary
from app.engines.qwen3.words import proportional, words_of

if TYPE_CHECKING:
    from app.domain.engines import Samples

TIMES_ESTIMATED = "word_times_estimated"
"""Warning: nobody could tell when these words were said, so they share the piece's time."""
_PROMPT_DROPPED = "prompt_dropped"
_TEXT_CUT = "text_cut"
"""Warning: the model said more than anybody can in this time, and was ended."""
_PREFERRED_SECONDS = 30.0
"""Longer pieces lower throughput, since what is recognised beside them waits for their last words."""
_LEAST_SECONDS = 0.5
"""Shorter sound is padded with silence: below 25 ms the model has nothing to hear, and little is seldom understood."""
_MARGIN_SECONDS = 0.15
"""Silence that pieces have at both ends."""
_TOKENS_A_SECOND, _MOST_TOKENS = 15.0, 512
"""More than anybody says, in any of the languages; and room for head and marks."""
_LEAST_TOKENS = 48
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7a3]")),
    ("zh", re.compile(r"[\u3400-\u9fff]")),
)
"""Which language a text is likely in, where the model does not say."""


class QwenRecognizer:
    """See app.domain.engines.ContinuousRecognizer."""

    def __init__(
        self,
        model_id: str,
        process: EngineProcess,
        vocabulary: Vocabulary,
        *,
        parallel_calls: int,
        aligner: Aligner | None = None,
    ) -> None:
        self.id = model_id
        self.parallel_calls = parallel_calls
        self.capabilities = Capabilities(
            languages=LANGUAGES,
            tasks=frozenset({"transcribe"}),
            max_seconds=_PREFERRED_SECONDS,
            preferred_seconds=_PREFERRED_SECONDS,
            word_times=True,
            prompt=True,
            hotwords=True,
            temperature=True,
            logprobs=True,
            mixes_languages=True,
            continues=True,
        )
        self._process = process
        self._vocabulary = vocabulary
        self._aligner = aligner

    @property
    def available(self) -> bool:
        """See ContinuousRecognizer.available. Without its aligner it goes on, and estimates times."""
        return self._process.available

    def cost(self, request: PieceRequest | WaitingRequest) -> float:
        """Seconds of sound."""
        return request.piece.seconds

    async def hear(self, request: PieceRequest, said: Said | None = None) -> Hypothesis:
        """See ContinuousRecognizer.hear."""
        options, samples = request.options, _audible(request.piece.samples)
        candidates = options.languages
        first = candidates[0] if len(candidates) == 1 else None
        telling = _Telling(self._vocabulary, said) if said and not candidates else None
        heard = await self._listen(samples, options, options.language or first, telling, harmless(request.prefix))
        if candidates and heard.language not in candidates:
            heard = await self._best_of(samples, options)
        words: tuple[Word, ...] = ()
        warnings = heard.warnings
        if options.timed and heard.answer.text:
            words = words_of(heard.answer.text, heard.answer.tokens)
            timed = await self._aligned(samples, words, heard.language)
            if timed is None:
                warnings = (*warnings, TIMES_ESTIMATED)
            words = _fitting(timed or _estimated(words, request.piece.seconds), request.piece.seconds)
        return heard.hypothesis(options, words, warnings)

    def watch(self, meter: Meter) -> None:
        """See Watched."""
        self._process.watch(meter)
        if isinstance(self._aligner, Watched):
            self._aligner.watch(meter)

    def close(self) -> None:
        """End the processes."""
        self._process.close()
        if self._aligner is not None:
            self._aligner.close()

    async def _best_of(self, samples: Samples, options: RecognitionOptions) -> _Heard:
        """What the model believes in most, made to hear each of the languages the caller allows."""
        try:
            async with asyncio.TaskGroup() as tries:
                heard = [tries.create_task(self._listen(samples, options, one, None)) for one in options.languages]
        except* (EngineFailure, ModelUnavailable) as failures:
            raise failures.exceptions[0] from None
        return max((one.result() for one in heard), key=lambda one: one.avg_logprob)

    async def _listen(
        self,
        samples: Samples,
        options: RecognitionOptions,
        language: str | None,
        telling: _Telling | None,
        prefix: str = "",
    ) -> _Heard:
        name = model_name(language) if language else None
        prompt = recognition_prompt(options, language=name, prefix=prefix)
        seconds = len(samples) / SAMPLE_RATE
        most = min(_MOST_TOKENS, _LEAST_TOKENS + int(seconds * _TOKENS_A_SECOND))
        asked = question(prompt.text, max_tokens=most, temperature=options.temperature)
        if telling:
            telling.begin(name)
        try:
            came = await self._process.ask(asked, samples, telling)
        except RefusedError:
            if not (options.prompt or options.hotwords):
                raise
            # Its context was too long after all: what was said counts more.
            bare = await self._listen(samples, replace(options, prompt="", hotwords=()), language, telling, prefix)
            bare.warnings = (*bare.warnings, _PROMPT_DROPPED)
            return bare
        output = Output(self._vocabulary, forced=name, prefix=prefix)
        for token, chance in came.tokens:
            output.add(token, chance)
        answer = output.finish()
        cut = (_TEXT_CUT,) if came.reason == "length" and not answer.warnings else ()
        code = language or _code(answer)
        return _Heard(answer, code, options.temperature, came.prompt_tokens, (*prompt.warnings, *answer.warnings, *cut))

    async def _aligned(self, samples: Samples, words: tuple[Word, ...], language: str) -> tuple[Word, ...] | None:
        """The words with times, or None where they cannot be told: text never goes missing for want of its times."""
        aligner = self._aligner
        if aligner is None or language not in aligner.languages or len(samples) > aligner.max_seconds * SAMPLE_RATE:
            return None
        units = await asyncio.to_thread(aligner_words, words, language)
        if units is None or not units.texts:
            return None
        try:
            return placed(words, units, await aligner.align(samples, units.texts))
        except (EngineFailure, ModelUnavailable):
            return None


class _Heard:
    """One answer of the model, in a language by its code."""

    def __init__(
        self, answer: Answer, language: str, temperature: float, prompt_tokens: int, warnings: tuple[str, ...]
    ) -> None:
        self.answer = answer
        self.language = language
        self.warnings = warnings if answer.text else (*warnings, "speech_not_recognized")
        self._temperature = temperature
        self._prompt_tokens = prompt_tokens

    @property
    def avg_logprob(self) -> float:
        """Of the text's tokens; of no text, less than of any."""
        tokens = self.answer.tokens
        return sum(token.logprob for token in tokens) / len(tokens) if tokens else float("-inf")

    def hypothesis(self, options: RecognitionOptions, words: tuple[Word, ...], warnings: tuple[str, ...]) -> Hypothesis:
        tokens = self.answer.tokens
        logprobs = tuple(
            TokenLogprob(token.utf8.decode(errors="replace"), token.utf8, token.logprob) for token in tokens
        )
        return Hypothesis(
            text=self.answer.text,
            language=self.language,
            languages={self.language: 1.0},
            words=words,
            tokens=tuple(token.id for token in tokens),
            logprobs=logprobs if options.logprobs else (),
            temperature=self._temperature,
            avg_logprob=self.avg_logprob if tokens else None,
            prompt_tokens=self._prompt_tokens,
            warnings=warnings,
        )


class _Telling:
    """Tells what has been said so far, and only ever more of it."""

    def __init__(self, vocabulary: Vocabulary, said: Said) -> None:
        self._vocabulary = vocabulary
        self._said = said
        self._told = ""
        self.begin(None)

    def begin(self, forced: str | None) -> None:
        """A new answer, in a language that may be `forced`. What was told is not told again."""
        self._forced = forced
        self._count = 0
        self._output = Output(self._vocabulary, forced=forced)

    def __call__(self, tokens: list[Token]) -> None:
        """All tokens so far; fewer than before if the process had to begin again."""
        if len(tokens) < self._count:
            self.begin(self._forced)
        for token, chance in tokens[self._count :]:
            self._output.add(token, chance)
        self._count = len(tokens)
        text = self._output.text
        if len(text) > len(self._told) and text.startswith(self._told):
            self._told = text
            self._said(text)


def _audible(samples: Samples) -> Samples:
    """The sound, with silence behind it if it is very short."""
    short = int(_LEAST_SECONDS * SAMPLE_RATE) - len(samples)
    return np.pad(samples, (0, short)) if short > 0 else np.ascontiguousarray(samples, dtype=np.float32)


def _code(answer: Answer) -> str:
    """The code of the language the model named; where it named none that is known, what the text looks like."""
    named = code_of(answer.language) if answer.language else None
    return named or next((code for code, script in _SCRIPTS if script.search(answer.text)), "en")


def _estimated(words: tuple[Word, ...], seconds: float) -> tuple[Word, ...]:
    margin = min(_MARGIN_SECONDS, seconds / 4)
    return proportional(words, SpeechSpan(margin, seconds - margin))


def _fitting(words: tuple[Word, ...], seconds: float) -> tuple[Word, ...]:
    """Words inside the piece: one that was padded may have been aligned beyond its end."""
    if not words or words[-1].end <= seconds:
        return words
    return tuple(replace(word, start=min(word.start, seconds), end=min(word.end, seconds)) for word in words)
