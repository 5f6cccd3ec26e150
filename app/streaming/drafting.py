"""Guesses at what is being said, where the recogniser can only hear what was said: it hears the piece so far, again and
again, as often as the machine allows, one guess at a time. What two guesses agree on is stable.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from app.domain.engines import SAMPLE_RATE
from app.domain.errors import SpeechError
from app.domain.transcript import join_texts
from app.pipeline.text.writing import Written
from app.streaming.recognising import Recognising
from app.streaming.speech import OpenPiece, Utterance
from app.streaming.writing import DraftWriter, without_end

if TYPE_CHECKING:
    from app.streaming.sound import RollingSound

Tell: TypeAlias = Callable[[Utterance], None]
"""Is told that an utterance's text has changed."""
_logger = logging.getLogger(__name__)

_FIRST_SECONDS = 0.4
"""Speech before a first guess: hardly a word is shorter, and recognisers make things up where there is none."""
_SECONDS = 0.6
"""Sound between guesses, at least."""
_SHARE = 2.0
"""And this many times what the last one took, so that guesses take a part of a busy machine only."""
_AGAIN_SECONDS = 0.3
"""Sound after which there is another guess where the last one found no words."""
_SURE_SECONDS = 2.0
"""Sound after which the language of a guess holds for those that follow."""
_UNFIXED_DRAFTS, _UNFIXED_UNITS = 2, 5
"""A recogniser that goes on from a text does so from the third guess at a piece on, and from all but the last words
(characters) of the one before: the model's authors' values."""


class Drafting(Protocol):
    """Makes an utterance's text so far. Belongs to one stream and one event loop."""

    def listen(self, utterance: Utterance, sound: RollingSound) -> None:
        """There is more sound of this utterance, of which somebody still speaks."""
        ...

    def hear(self, utterance: Utterance, piece: OpenPiece, written: Written) -> None:
        """A piece was recognised as if it were over, and perhaps it is."""
        ...

    async def close(self) -> None:
        """Drop what goes on."""
        ...


class Guessing:
    """Drafting by an offline recogniser."""

    def __init__(self, recognising: Recognising, writer: DraftWriter, tell: Tell) -> None:
        self._recognising = recognising
        self._writer = writer
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self._utterance: Utterance | None = None  # that it is or was about
        self._heard = 0.0  # of the stream, by the latest guess
        self._took = 0.0

    def listen(self, utterance: Utterance, sound: RollingSound) -> None:
        """See Drafting.listen."""
        piece = utterance.open
        if self._task is not None and not self._task.done():
            if utterance is self._utterance:
                return
            self._task.cancel()  # nobody asks any more what that one says
        if sound.end >= self._due(piece):
            self._utterance, self._heard = utterance, sound.end
            self._task = asyncio.create_task(self._guess(utterance, piece, sound))

    def hear(self, utterance: Utterance, piece: OpenPiece, written: Written) -> None:
        """See Drafting.hear."""
        piece.language = written.hypothesis.language
        self._take(utterance, piece, written.hypothesis.text)

    async def close(self) -> None:
        """See Drafting.close."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _due(self, piece: OpenPiece) -> float:
        """How far the sound must have come before the next guess."""
        if not piece.drafts:
            return piece.spans[0].start + _FIRST_SECONDS if piece.spans else math.inf
        return self._heard + (max(_SECONDS, _SHARE * self._took) if piece.draft else _AGAIN_SECONDS)

    async def _guess(self, utterance: Utterance, piece: OpenPiece, sound: RollingSound) -> None:
        began = time.monotonic()
        prefix = self._prefix(piece)
        piece.drafts += 1
        stretch = sound.stretch(piece.start, sound.end)
        try:
            first = not utterance.text.text
            hypothesis = await self._recognising.guess(stretch, piece.language, prefix, first=first)
            if len(stretch.samples) >= _SURE_SECONDS * SAMPLE_RATE or self._recognising.able.continues:
                piece.language = hypothesis.language
            if piece.hearing is None or not piece.hearing.done():  # what is likely final is better
                self._take(utterance, piece, await self._writer.written(hypothesis))
        except SpeechError:
            pass  # a guess less; what is final tells failures
        except Exception:  # this guess ends here, and the stream goes on
            _logger.exception("a guess at live speech failed in a way it should not")
        self._took = time.monotonic() - began

    def _take(self, utterance: Utterance, piece: OpenPiece, text: str) -> None:
        piece.draft = text
        if utterance.text.guess(join_texts(one.draft for one in utterance.pieces)):
            self._tell(utterance)

    def _prefix(self, piece: OpenPiece) -> str:
        if not self._recognising.able.continues or piece.drafts < _UNFIXED_DRAFTS or piece.language is None:
            return ""
        return without_end(piece.draft, _UNFIXED_UNITS)
