"""From a request for DashScope's transcription to a job: every value checked, what cannot be done refused by name."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable
from typing import Final, cast

from app.audio.fetching.locations import LocationError, parse_location
from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.hotwords import Hotword
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.protocols.aliyun.filetrans.dashscope.wire import MOST_CHANNELS, Shown
from app.protocols.aliyun.filtering import NAME as FILTER
from app.protocols.aliyun.filtering import asked_filter
from app.protocols.asked_hotwords import asked_hotwords
from app.protocols.languages import spoken_language
from app.protocols.payload import Payload
from app.service.jobs.job import JobRequest
from app.service.residents import ServedModel
from app.service.service import SpeechService

CLOUD_MODELS: Final = re.compile(
    r"paraformer-(v1|v2|8k-v1|8k-v2|mtl-v1)|fun-asr(-mtl)?(-\d{4}-\d\d-\d\d)?|sensevoice-v1"
)
"""Names of the cloud's own models, which mean the default one here."""
SPEAKERS, COUNT, CHANNELS, HINTS = "diarization_enabled", "speaker_count", "channel_id", "language_hints"
VOCABULARY, RESOURCES = "vocabulary_id", "resources"
SPEAKER_COUNTS: Final = (2, 50)
WITH_EFFECT: Final = frozenset({SPEAKERS, COUNT, CHANNELS, HINTS, VOCABULARY, FILTER})
WITHOUT_EFFECT: Final = frozenset({"disfluency_removal_enabled", "timestamp_alignment_enabled"})
REFUSED: Final = frozenset({"audio_event_detection_enabled"})
_PARTS: Final = frozenset({"model", "input", "parameters", RESOURCES})
"""Of a request's body."""
_MOST_RESOURCES: Final = 16
_logger = logging.getLogger(__name__)


async def job_request(body: dict[str, object], service: SpeechService, owner: str, request_id: str) -> JobRequest:
    """The job that a request's body asks for, all of which its model can do. Fields that nobody knows are noted.

    Raises:
        SpeechError: a value makes no sense, or what it asks for is not here or cannot be done.
    """
    said = Payload(body).text("model")
    model = service.resolve(None if said and CLOUD_MODELS.fullmatch(said) else said)
    address = _address(_object(body, "input"))
    parameters = _object(body, "parameters")
    _note_unknown([*(body.keys() - _PARTS), *(parameters.keys() - WITH_EFFECT - WITHOUT_EFFECT - REFUSED)], request_id)
    wishes = Payload(parameters)
    for name in WITHOUT_EFFECT:
        wishes.choice(name)
    for name in REFUSED:
        if wishes.flag(name, default=False):
            raise UnsupportedFeature(f"Nothing but speech is told of here: leave {name} out.", param=name)
    channels, speakers = _channels(wishes), _speakers(wishes, service)
    if speakers is not None and channels not in ((), (0,)):
        told = f"With {SPEAKERS} all channels are heard together: leave {CHANNELS} out."
        raise UnsupportedFeature(told, param=CHANNELS)
    languages = _languages(wishes.value(HINTS), model)
    options = RecognitionOptions(
        language=languages[0] if len(languages) == 1 else None,
        languages=languages if len(languages) > 1 else (),
        hotwords=await _hotwords(body, wishes, model, service, owner),
        speakers=speakers,
        split_channels=speakers is None,
        masking=await asked_filter(wishes, service.settings),
    )
    shown = Shown(secrets.token_urlsafe(24), channels or (0,), speakers=speakers is not None)
    return JobRequest(model.id, options, address=address, face="aliyun", drawing=shown.drawing())


def _note_unknown(names: Iterable[str], request_id: str) -> None:
    if unknown := sorted(name[:40] for name in names)[:20]:
        _logger.debug("request %s: fields nobody reads: %r", request_id, unknown)


def _object(body: dict[str, object], name: str) -> dict[str, object]:
    found = body.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidParameter(f"{name} must be an object.", param=name)
    return cast("dict[str, object]", found)


def _address(given: dict[str, object]) -> str:
    """Whether it may be reached is looked at when it is fetched."""
    name = "file_urls"
    found = given.get(name)
    urls = cast("list[object]", found) if isinstance(found, list) else []
    if not urls or not all(isinstance(url, str) for url in urls):
        raise InvalidParameter(f"input.{name} must be a list with the address of a recording.", param=name)
    if len(urls) > 1:
        raise UnsupportedFeature(f"input.{name} takes one recording a task here: submit a task for each.", param=name)
    address = str(urls[0])
    try:
        parse_location(address)
    except LocationError as error:
        raise InvalidParameter(f"input.{name} {error}", param=name) from error
    return address


def _channels(wishes: Payload) -> tuple[int, ...]:
    found = wishes.value(CHANNELS)
    if found is None:
        return ()
    said = cast("list[object]", found) if isinstance(found, list) else [None]
    channels = [one for one in said if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < MOST_CHANNELS]
    if not channels or len(channels) != len(said):
        told = f"{CHANNELS} must be a list of channels, from 0 to {MOST_CHANNELS - 1}."
        raise InvalidParameter(told, param=CHANNELS)
    return tuple(sorted(set(channels)))


def _speakers(wishes: Payload, service: SpeechService) -> SpeakerOptions | None:
    count = None if wishes.value(COUNT) is None else wishes.count(COUNT, SPEAKER_COUNTS[0], *SPEAKER_COUNTS)
    if not wishes.flag(SPEAKERS, default=False):
        if count is not None:
            raise InvalidParameter(f"{COUNT} goes with {SPEAKERS}.", param=COUNT)
        return None
    service.check_speakers(param=SPEAKERS)
    return SpeakerOptions(count)


def _languages(found: object, model: ServedModel) -> tuple[str, ...]:
    """Several are those that detection may choose from; a model that detects none hears them as it does."""
    if found is None:
        return ()
    said = cast("list[object]", found) if isinstance(found, list) else [None]
    if not all(isinstance(one, str) and one.strip() for one in said):
        raise InvalidParameter(f"{HINTS} must be a list of languages.", param=HINTS)
    return tuple(dict.fromkeys(spoken_language(str(one), model, param=HINTS) for one in said))


async def _hotwords(
    body: dict[str, object], wishes: Payload, model: ServedModel, service: SpeechService, owner: str
) -> tuple[Hotword, ...]:
    """Those of vocabulary_id, or of the first generation's phrases, which are among `resources`."""
    name, phrases = wishes.text(VOCABULARY, longest=None), _phrases(body)
    if name is not None and phrases is not None:
        raise InvalidParameter(f"{RESOURCES} and {VOCABULARY} both name hotwords: send one of them.", param=RESOURCES)
    return await asked_hotwords({}, name or phrases, model, service, owner)


def _phrases(body: dict[str, object]) -> str | None:
    found = body.get(RESOURCES)
    if found is None:
        return None
    listed = cast("list[object]", found) if isinstance(found, list) else [None]
    resources = [cast("dict[str, object]", one) for one in listed if isinstance(one, dict)]
    ids = [one.get("resource_id") for one in resources if one.get("resource_type") == "asr_phrase"]
    if len(ids) != len(listed) or len(ids) > _MOST_RESOURCES or not all(isinstance(one, str) for one in ids):
        raise InvalidParameter(f"{RESOURCES} must be a list of asr_phrase with its resource_id.", param=RESOURCES)
    if len(ids) > 1:
        raise UnsupportedFeature(f"{RESOURCES} takes one asr_phrase here.", param=RESOURCES)
    return str(ids[0]) if ids else None
