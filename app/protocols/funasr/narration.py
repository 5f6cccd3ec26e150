"""What a live stream says, as FunASR tells it: text that clients append, then sentences that replace it."""

from __future__ import annotations

from typing import Literal

from app.domain.events import Closed, Final, Partial, SpeechStarted, StreamEvent
from app.domain.transcript import separator
from app.protocols.deltas import missing
from app.protocols.funasr.wire import LAST_MODE, Message, ResultMode, result, stamped, voiced
from app.protocols.labels import Label
from app.protocols.speaker_turns import by_speaker


class Narration:
    """One stream's messages, in order.

    Text of `2pass-online` and `online` continues what came before it. A `2pass-offline` sentence stands for all of its
    utterance that was told; in `online`, which cannot take anything back, an utterance ends with what its text still
    lacks. Texts begin with the space that separates them from the utterance before, as clients just concatenate.

    Where speakers are told, a `2pass-offline` sentence has one: an utterance in which several speak is told in several,
    which stand for it together. In `online` whoever says most of an utterance is told with its end.

    Only the last message is final. Until the client has ended, none is; after that, the latest sentence is held back
    until it is known whether another follows.
    """

    def __init__(self, mode: Literal["online", "2pass"], wav_name: str, label: Label) -> None:
        self._mode: Literal["online", "2pass"] = mode
        self._partial_mode: ResultMode = "online" if mode == "online" else "2pass-online"
        self._wav_name = wav_name
        self._label = label
        self._before = ""
        self._said = ""
        self._held: Message | None = None
        self._ended = False
        self._closed = False

    def end(self) -> list[Message]:
        """The client has said everything: what there is to tell it now."""
        self._ended = True
        return self._last() if self._closed else []

    def tell(self, event: StreamEvent) -> list[Message]:
        """What there is to tell of `event`."""
        match event:
            case Partial():
                return [*self._released(), *self._grown(event.stable)]
            case SpeechStarted():
                return self._released()
            case Final():
                return [*self._released(), *self._sentence(event)]
            case Closed():
                self._closed = True
                return self._last() if self._ended else []
            case _:
                return []

    def failed(self) -> list[Message]:
        """What is still to be told where nothing more can be heard."""
        return self._released()

    def _grown(self, stable: str) -> list[Message]:
        delta = stable[len(self._said) :]
        if not delta.strip():  # a space alone goes with what follows it
            return []
        space = "" if self._said else separator(self._before, delta)
        self._said = stable
        return [self._message(self._partial_mode, space + delta)]

    def _sentence(self, final: Final) -> list[Message]:
        said, self._said = self._said, ""
        messages = self._appended(final, said) if self._mode == "online" else self._settled(final, said)
        if not self._ended or not messages:
            return messages
        *messages, self._held = messages
        return messages

    def _appended(self, final: Final, said: str) -> list[Message]:
        text = missing(said, final.text) if said else self._following(final.text)
        self._before = said + text or self._before
        message = voiced(self._message(LAST_MODE[self._mode], text), final.segments, self._label)
        return [message] if text.strip() or "spk" in message else []

    def _settled(self, final: Final, said: str) -> list[Message]:
        messages: list[Message] = []
        for part, _ in by_speaker(final):
            text = self._following(part.text)
            self._before = text or self._before
            if text.strip() or said:  # what was told may turn out to be nothing
                messages.append(stamped(self._message(LAST_MODE[self._mode], text), part.segments, self._label))
        return messages

    def _following(self, text: str) -> str:
        return separator(self._before, text) + text if text.strip() else ""

    def _released(self) -> list[Message]:
        held, self._held = self._held, None
        return [held] if held else []

    def _last(self) -> list[Message]:
        message = self._held or self._message(LAST_MODE[self._mode], "")
        self._held = None
        message["is_final"] = True
        return [message]

    def _message(self, mode: ResultMode, text: str) -> Message:
        return result(mode, text, self._wav_name, final=False)
