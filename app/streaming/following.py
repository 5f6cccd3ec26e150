"""What is being said, where a streaming recogniser hears it word by word: each utterance has a stream of its own, whose
text only ever grows. (What is final is the offline recogniser's.)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from app.domain.engines import Hypothesis
from app.domain.errors import SpeechError
from app.domain.live_engines import RecognizerStream, StreamingRecognizer
from app.pipeline.computing import Computing
from app.pipeline.text.writing import Written
from app.pipeline.turns import Urgency
from app.streaming.speech import OpenPiece, Utterance
from app.streaming.writing import DraftWriter

if TYPE_CHECKING:
    from app.streaming.sound import RollingSound

_logger = logging.getLogger(__name__)

Tell: TypeAlias = Callable[[Utterance], None]


class Following:
    """Drafting by a streaming recogniser; see Drafting."""

    def __init__(
        self,
        recognizer: StreamingRecognizer,
        writer: DraftWriter,
        computing: Computing,
        language: str | None,
        tell: Tell,
    ) -> None:
        self._recognizer = recognizer
        self._writer = writer
        self._computing = computing
        self._language = language
        self._tell = tell
        self._utterance: Utterance | None = None
        self._stream: RecognizerStream | None = None
        self._heard = 0.0  # of the stream's sound
        self._task: asyncio.Task[None] | None = None

    def listen(self, utterance: Utterance, sound: RollingSound) -> None:
        """See Drafting.listen."""
        if self._task is not None and not self._task.done():
            if utterance is self._utterance:
                return
            self._task.cancel()  # nobody asks any more what that one says
        if utterance is not self._utterance:
            self._utterance, self._stream = utterance, self._recognizer.open()
            self._heard = utterance.pieces[0].start
        if self._stream is not None and sound.end - self._heard >= self._recognizer.chunk_seconds:
            self._task = asyncio.create_task(self._follow(utterance, self._stream, sound))

    def hear(self, utterance: Utterance, piece: OpenPiece, written: Written) -> None:
        """See Drafting.hear: what may be final is told when it is."""

    async def close(self) -> None:
        """See Drafting.close."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self, utterance: Utterance, stream: RecognizerStream, sound: RollingSound) -> None:
        stretch = sound.stretch(self._heard, sound.end)
        self._heard = stretch.duration
        urgency = Urgency.DRAFT if utterance.text.text else Urgency.FIRST_DRAFT
        try:
            said = await self._computing.run(partial(stream.push, stretch.samples), urgency)
            text = await self._writer.written(self._heard_text(said))
        except SpeechError:
            self._stream = None  # no more of this utterance; what is final tells failures
        except Exception:  # this utterance's guesses end here, and the stream goes on
            self._stream = None
            _logger.exception("following live speech failed in a way it should not")
        else:
            if utterance.text.grow(text):
                self._tell(utterance)

    def _heard_text(self, text: str) -> Hypothesis:
        language = self._language or ("en" if text.isascii() else "zh")
        return Hypothesis(text, language, {language: 1.0})
