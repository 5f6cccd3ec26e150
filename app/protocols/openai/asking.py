"""What a request asks for, whether it is answered at once or handed over as a job: the form, the recording in it, and
the recogniser's options."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fastapi import Request

from app.domain.errors import BadAudio
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.domain.transcript import Transcript
from app.protocols.body import is_json
from app.protocols.forms import Form, receive_form
from app.protocols.json_form import receive_json_form
from app.protocols.openai.speakers import known_voices
from app.protocols.openai.text import with_text
from app.protocols.openai.wishes import Wishes
from app.service.admission import Ticket
from app.service.residents import ServedModel
from app.service.service import SpeechService

SPEAKERS_UNAVAILABLE = "speakers_unavailable"
"""Warning: speakers are told apart by default, but the models for it are not there."""


async def received(request: Request, folder: Path | None, *, setting: str = "TEMP_DIR") -> Form:
    """The request's fields: of a form, or, as Open WebUI can be set to send them, of JSON. Raises as those who read
    them."""
    receive = receive_json_form if is_json(request) else receive_form
    return await receive(request, folder, setting=setting)


@contextmanager
def at_fault(field: str) -> Generator[None, None, None]:
    """Names the field that the recording came in, where nothing can be made of it."""
    try:
        yield
    except BadAudio as error:
        raise type(error)(error.message, param=field) from error


async def asked_options(
    service: SpeechService, model: ServedModel, wishes: Wishes, ticket: Ticket
) -> RecognitionOptions:
    """What is asked of the recogniser, with the hotwords that are stored and the voices it may name.

    Raises:
        SpeechError: something is asked for in so many words and cannot be had.
    """
    options = await with_text(wishes.options, wishes.text, model, service, ticket.key)
    return replace(options, speakers=await _speaker_options(service, wishes, ticket))


def lacks_speakers(wishes: Wishes, options: RecognitionOptions) -> bool:
    """Whether speakers would be told apart, if what does that were there."""
    return wishes.options.speakers is not None and options.speakers is None and not options.split_channels


def warned(transcript: Transcript) -> Transcript:
    """The transcript with the warning that speakers would have been told apart."""
    return replace(transcript, warnings=(*transcript.warnings, SPEAKERS_UNAVAILABLE))


async def _speaker_options(service: SpeechService, wishes: Wishes, ticket: Ticket) -> SpeakerOptions | None:
    """None where nobody asked for speakers in so many words and they cannot be told apart."""
    speakers = wishes.speakers
    if speakers.options is None or (not service.tells_speakers and speakers.asked_by is None):
        return None
    service.check_speakers(param=speakers.asked_by)
    return replace(speakers.options, voices=await known_voices(speakers, service, ticket.key, ticket))
