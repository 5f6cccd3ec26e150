"""The pieces of one stream through the recogniser and through what text passes; utterances to final sentences."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from app.domain.engines import Capabilities, Hypothesis, SpeechSpan, WaitingPiece, WaitingRequest
from app.domain.events import Final
from app.domain.options import RecognitionOptions
from app.domain.transcript import Segment, join_texts
from app.pipeline.assembling import segments
from app.pipeline.text.masking import Masker
from app.pipeline.text.writing import Writer, Writing, Written
from app.pipeline.turns import Turn, Urgency
from app.streaming.sound import Stretch
from app.streaming.speech import Utterance
from app.streaming.writing import masked_so_far

if TYPE_CHECKING:
    from app.streaming.speakers import LiveSpeakers, Voiced


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece as it is to be read. `free`: the recogniser could tell its language by the sound. `voiced` are its
    voices, where they are wanted."""

    written: Written
    free: bool
    voiced: Voiced = None


Submit: TypeAlias = Callable[[WaitingRequest, Turn], Awaitable[Hypothesis]]
"""A Batcher's or Relay's."""
_SURE_SECONDS = 3.0
"""Sound from which a language can be told. What is shorter is heard in the stream's language, once that is known."""
_KNOWN = 2.0
"""Seconds of speech, weighted by the chance of its language, from which the stream's is known: a first "um" is not
enough."""
_MEMORY = 0.9
"""How much of what was known of the stream's language counts after another piece: people change over."""


class Recognising:
    """One stream's recognition. `key` stands for the caller's API key: keys take turns."""

    def __init__(
        self,
        submit: Submit,
        able: Capabilities,
        writing: Writing,
        options: RecognitionOptions,
        writers: Executor,
        *,
        key: str = "",
        speakers: LiveSpeakers | None = None,
        masker: Masker | None = None,
    ) -> None:
        """`speakers` tells who says what; None: nobody asked. `masker` masks what goes to the caller; None: nothing is
        masked."""
        self.able = able
        self.options = options
        self._speakers = speakers
        self._masker = masker
        self._submit = submit
        self._key = key
        self._writers = writers
        self._writer = Writer(writing, options, able)
        self._chances: dict[str, float] = {}

    @property
    def _language(self) -> str | None:
        """What is spoken, once that is rather certain."""
        likeliest = max(self._chances, key=self._chances.__getitem__, default=None)
        return likeliest if likeliest is not None and self._chances[likeliest] >= _KNOWN else None

    async def hear(self, sound: Stretch, spans: Sequence[SpeechSpan] = ()) -> Heard:
        """What is said in a piece, as it is to be read, and in whose voices, meanwhile. `spans` is its speech.

        Raises:
            SpeechError: the recogniser failed, or cannot answer now.
        """
        if self._speakers is None:
            return await self._hear(sound)
        voices = asyncio.create_task(self._speakers.hear(sound, spans))
        try:
            heard = await self._hear(sound)
            return replace(heard, voiced=await voices)
        finally:
            voices.cancel()

    async def _hear(self, sound: Stretch) -> Heard:
        options = self._held(self.options, sound)
        hypothesis = await self._recognise(sound, options, Urgency.FINAL)
        if self._writer.quick:
            written = self._writer.written(hypothesis)
        else:
            loop = asyncio.get_running_loop()
            written = await loop.run_in_executor(self._writers, self._writer.written, hypothesis)
        return Heard(written, free=options.language is None)

    async def guess(self, sound: Stretch, language: str | None, prefix: str = "", *, first: bool = False) -> Hypothesis:
        """What is likely being said in a piece that goes on, in `language` if that is known. `first`: there was no
        guess at its utterance before.

        Raises:
            SpeechError: as `hear`.
        """
        options = replace(
            self.options, draft=True, timed=False, logprobs=False, language=language or self.options.language
        )
        urgency = Urgency.FIRST_DRAFT if first else Urgency.DRAFT
        return await self._recognise(sound, self._held(options, sound), urgency, prefix)

    def _learn(self, heard: Heard, seconds: float) -> None:
        """Take in what language a piece was in, if that is any evidence."""
        if not heard.free:
            return
        for language in self._chances:
            self._chances[language] *= _MEMORY
        for language, chance in heard.written.hypothesis.languages.items():
            self._chances[language] = self._chances.get(language, 0.0) + chance * seconds

    async def final(self, utterance: Utterance) -> Final:
        """All that an utterance says, once it is over.

        Raises:
            SpeechError: a piece failed; text never goes missing.
        """
        made: list[Segment] = []
        texts: list[str] = []
        warnings: dict[str, None] = {}
        languages: dict[str, float] = {}
        for piece in utterance.pieces:
            assert piece.hearing is not None  # noqa: S101 - closing a piece has it heard
            heard = await piece.hearing
            hypothesis, cut = heard.written.hypothesis, piece.cut()
            said = segments(cut, hypothesis) if cut.spans else []
            made += said if self._speakers is None else await self._speakers.tell(said, heard.voiced)
            if hypothesis.text:
                texts.append(hypothesis.text)
                languages[hypothesis.language] = languages.get(hypothesis.language, 0.0) + cut.end - cut.start
                self._learn(heard, cut.end - cut.start)
            warnings |= dict.fromkeys(hypothesis.warnings)
        text = join_texts(texts)
        if self._masker is not None:
            text, made = self._masker.together(text, made)
        return Final(
            utterance.index,
            utterance.start,
            utterance.end,
            utterance.time,
            text,
            tuple(made),
            self.options.language or max(languages, key=languages.__getitem__, default=None),
            tuple(warnings),
        )

    def so_far(self, utterance: Utterance) -> tuple[str, str]:
        """What the caller may read of an utterance that goes on: its text, and the beginning of it that stays."""
        text, stable = utterance.text.text, utterance.text.stable
        return (text, stable) if self._masker is None else masked_so_far(self._masker, text, stable)

    def _held(self, options: RecognitionOptions, sound: Stretch) -> RecognitionOptions:
        """Short sound is held to the language of what was said before."""
        free = self.able.detects_language and not self.able.mixes_languages and options.language is None
        if free and self._language and sound.duration - sound.start < _SURE_SECONDS:
            return replace(options, language=self._language)
        return options

    async def _recognise(
        self, sound: Stretch, options: RecognitionOptions, urgency: Urgency, prefix: str = ""
    ) -> Hypothesis:
        piece = WaitingPiece(sound, sound.start, sound.duration)
        return await self._submit(WaitingRequest(piece, options, prefix), Turn(self, self._key, urgency))
