"""The engines that live speech needs, called in a loop without server, sockets or turns: what they can do at best."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from app.domain.engines import BatchRecognizer, Piece, PieceRequest, Punctuator, VoiceActivityStream
from app.domain.live_engines import RecognizerStream, StreamingRecognizer
from app.domain.options import RecognitionOptions
from app.engines.fsmn_vad import FsmnVad
from app.pipeline.text.punctuation import punctuated
from app.streaming.endpointing import Endpoint, Endpointer, Onset
from benchmarks.live_sessions import Pace, Script
from tests.real.live_client import FRAME, RATE

if TYPE_CHECKING:
    from app.domain.engines import Samples

SILENCE = 0.8
"""Seconds that end an utterance: the server's default."""
_PADDING = 0.2
_PARTIAL_SECONDS = 1.0
"""An utterance is recognised again so often while it goes on."""
_FINAL = RecognitionOptions()
_DRAFT = replace(_FINAL, draft=True, timed=False)


class Bare:
    """Speech detection frame by frame, and each utterance recognised once at its end, in pieces as long as the
    recogniser likes. If `partials` are wanted, a `streaming` recogniser hears it, too; or else what was said so far is
    recognised once a second."""

    def __init__(
        self,
        detector: FsmnVad,
        recognizer: BatchRecognizer,
        punctuator: Punctuator | None = None,
        streaming: StreamingRecognizer | None = None,
    ) -> None:
        self.streaming = streaming
        self._detector = detector
        self._recognizer = recognizer
        self._punctuator = punctuator

    def pace(self, played: Sequence[Script], threads: int, *, partials: bool) -> Pace:
        """How fast sessions are heard, one a thread: as many as its speed would keep all threads busy at real time."""
        sounds = [script.sound.astype(np.float32) / 32768 for script in played]
        before, began = time.process_time(), time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda sound: _Ear(self, sound, partials=partials).hear(), sounds):
                pass
        wall, work = time.perf_counter() - began, time.process_time() - before
        return Pace(sum(script.seconds for script in played), wall, work)

    def listener(self) -> VoiceActivityStream:
        """A detector for one session."""
        return self._detector.open()

    @property
    def longest(self) -> float:
        """Seconds of an utterance that are recognised in one piece."""
        return self._recognizer.capabilities.preferred_seconds

    def recognise(self, samples: Samples, *, draft: bool) -> None:
        """What is done to a stretch of speech."""
        request = PieceRequest(Piece(0.0, samples), _DRAFT if draft else _FINAL)
        heard = self._recognizer.recognize([request])[0]
        if self._punctuator and heard.words and not draft:
            punctuated(heard.words, self._punctuator)


class _Ear:
    """One session's sound on its way through."""

    def __init__(self, bare: Bare, sound: Samples, *, partials: bool) -> None:
        self._bare, self._sound, self._partials = bare, sound, partials
        self._endpointer = Endpointer(SILENCE)
        self._start: float | None = None
        self._next = 0.0
        self._stream: RecognizerStream | None = None
        self._heard = self._chunk = 0.0

    def hear(self) -> None:
        """All of it."""
        stream = self._bare.listener()
        size = round(FRAME * RATE)
        for first in range(0, len(self._sound), size):
            last = first + size >= len(self._sound)
            chances = stream.push(self._sound[first : first + size], last=last)
            marks = self._endpointer.push(bool(spoken) for spoken in chances >= stream.threshold)
            for mark in (*marks, *(self._endpointer.finish() if last else ())):
                if isinstance(mark, Onset):
                    self._begin(mark.start)
                elif isinstance(mark, Endpoint):
                    self._recognise(mark.end + _PADDING, draft=False)
                    self._start = None
            self._go_on(min(first + size, len(self._sound)) / RATE)

    def _go_on(self, now: float) -> None:
        """In the middle of an utterance: a part that is long enough is over, and the text so far may be due."""
        if self._start is None:
            return
        if now - self._start >= self._bare.longest - _PADDING:
            self._recognise(now, draft=False)
            self._start = now
        elif self._stream is not None:
            if now - self._heard >= self._chunk:
                self._stream.push(self._sound[round(self._heard * RATE) : round(now * RATE)])
                self._heard = now
        elif self._partials and now >= self._next:
            self._recognise(now, draft=True)
            self._next = now + _PARTIAL_SECONDS

    def _begin(self, start: float) -> None:
        self._start, self._next = start, start + _PARTIAL_SECONDS
        streaming = self._bare.streaming
        if self._partials and streaming is not None:
            self._stream, self._heard, self._chunk = streaming.open(), start, streaming.chunk_seconds

    def _recognise(self, end: float, *, draft: bool) -> None:
        start = max(0.0, (self._start or 0.0) - _PADDING)
        self._bare.recognise(self._sound[round(start * RATE) : round(end * RATE)], draft=draft)
