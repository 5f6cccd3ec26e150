"""From a task's parameters to a job: every value checked, and what cannot be done refused by name."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Final, cast

from app.audio.fetching.locations import LocationError, parse_location
from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.hotwords import Hotword, merged
from app.domain.options import RecognitionOptions, SpeechDetection
from app.domain.speakers import SpeakerOptions
from app.protocols.aliyun.filetrans.statuses import EmptyAppkey
from app.protocols.aliyun.filetrans.wire import VERSIONS, Shown
from app.protocols.aliyun.filtering import NAME as FILTER
from app.protocols.aliyun.filtering import asked_filter
from app.protocols.aliyun.rest.parameters import ITN, LONGEST_MODEL, PUNCTUATION, SENTENCE_CHARACTERS, check_appkey
from app.protocols.asked_hotwords import asked_hotwords, listens
from app.protocols.asked_text import asked_itn, asked_punctuation
from app.protocols.languages import spoken_language
from app.protocols.payload import Payload
from app.service.jobs.job import JobRequest, Webhook
from app.service.jobs.webhooks import check_webhook
from app.service.residents import ServedModel
from app.service.service import SpeechService
from app.settings import Settings

SPEAKERS, SUPERVISION, COUNT = "auto_split", "supervise_type", "speaker_num"
MOST_SPEAKERS: Final = 50
SILENCES: Final = (200, 6_000)
SEGMENTS: Final = (5_000, 60_000)
"""Milliseconds, as the documents have them."""
_FREE, _GIVEN = 1, 2
"""Of supervise_type: how many speakers there are is found out, or is speaker_num."""
_APPKEYS = ("appkey", "app_key")
"""The second name is that of the oldest samples."""
WITH_EFFECT = frozenset(
    {
        *_APPKEYS,
        "file_link",
        "version",
        "enable_words",
        "enable_callback",
        "callback_url",
        SPEAKERS,
        SUPERVISION,
        COUNT,
        PUNCTUATION,
        ITN,
        "max_end_silence",
        "sentence_max_length",
        "first_channel_only",
        "vocabulary_id",
        "class_vocabulary_id",
        FILTER,
        "model_id",
        "language",
        "hotwords",
    }
)
"""The last three are beyond the cloud's."""
SWITCHES = frozenset(
    {
        "enable_sample_rate_adaptive",
        "enable_disfluency",
        "enable_semantic_sentence_detection",
        "enable_timestamp_alignment",
    }
)
"""Yes or no, and either changes nothing; docs/aliyun_filetrans.md says why."""
WITHOUT_EFFECT = SWITCHES | {"max_single_segment_time", "customization_id"}
REFUSED = frozenset({"valid_times"})
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Channels:
    """Who ChannelId is: a speaker, or a channel of the recording."""

    speakers: SpeakerOptions | None
    first_only: bool


def read_task(said: str, request_id: str) -> Payload:
    """The object that the parameter Task is, as JSON. Fields that nobody knows are noted.

    Raises:
        InvalidParameter: it is none. The message does not repeat it.
    """
    try:
        parsed: object = json.loads(said)
    except (ValueError, RecursionError):  # without a cause: it would repeat what was sent in the log
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidParameter("Task must be a JSON object.", param="Task")
    fields = cast("dict[str, object]", parsed)
    if unknown := fields.keys() - WITH_EFFECT - WITHOUT_EFFECT - REFUSED:
        _logger.debug("request %s: fields nobody reads: %r", request_id, sorted(name[:40] for name in unknown)[:20])
    return Payload(fields)


async def job_request(task: Payload, service: SpeechService, owner: str) -> JobRequest:
    """The job that a task asks for, all of which its model can do.

    Raises:
        SpeechError: a value makes no sense, or what it asks for is not here or cannot be done.
    """
    _check_appkey(task, service)
    address = _file_link(task)
    webhook = _webhook(task, service.settings)
    model = service.resolve(task.text("model_id", longest=LONGEST_MODEL))
    _check_others(task)
    channels = _channels(task, service)
    options = RecognitionOptions(
        language=_language(task.text("language"), model),
        hotwords=await _hotwords(task, model, service, owner),
        punctuation=asked_punctuation(task.choice(PUNCTUATION), model, service, param=PUNCTUATION),
        itn=asked_itn(task.flag(ITN, default=False), service, param=ITN),
        detection=SpeechDetection(silence_seconds=_silence(task)),
        speakers=channels.speakers,
        split_channels=channels.speakers is None,
        masking=await asked_filter(task, service.settings),
    )
    shown = Shown(_version(task), _words(task, model), _longest(task), channels.first_only)
    return JobRequest(model.id, options, address=address, face="aliyun", drawing=shown.drawing(), webhook=webhook)


def _check_appkey(task: Payload, service: SpeechService) -> None:
    said = next((found for name in _APPKEYS if (found := task.text(name))), None)
    if said is None and service.settings.appkey.get_secret_value():
        raise EmptyAppkey("appkey is needed: this server is set to one.", param=_APPKEYS[0])
    check_appkey(Payload({_APPKEYS[0]: said}), service.settings)


def _file_link(task: Payload) -> str:
    """Whether it may be reached is looked at when it is fetched."""
    name = "file_link"
    said = _address(task, name)
    try:
        parse_location(said)
    except LocationError as error:
        raise InvalidParameter(f"{name} {error}", param=name) from error
    return said


def _address(task: Payload, name: str) -> str:
    said = task.text(name, longest=None)
    if said is None:
        raise InvalidParameter(f"{name} is needed: an http or https address.", param=name)
    return said


def _webhook(task: Payload, settings: Settings) -> Webhook | None:
    """A callback_url without enable_callback is none, as in the cloud."""
    if not task.flag("enable_callback", default=False):
        return None
    url = _address(task, "callback_url")
    check_webhook(url, param="callback_url", networks=settings.webhook_networks)
    return Webhook(url)


def _check_others(task: Payload) -> None:
    """What changes nothing must make sense all the same, and what cannot be done is not asked for."""
    for name in SWITCHES:
        task.choice(name)
    task.count("max_single_segment_time", SEGMENTS[1], *SEGMENTS)
    task.text("customization_id")
    for name in REFUSED:
        if task.value(name) not in (None, []):
            told = f"A whole recording is recognised here: leave {name} out, and choose sentences by their times."
            raise UnsupportedFeature(told, param=name)


def _channels(task: Payload, service: SpeechService) -> _Channels:
    split, first_only = task.flag(SPEAKERS, default=False), task.flag("first_channel_only", default=False)
    count = None if task.value(COUNT) is None else task.count(COUNT, 1, 1, MOST_SPEAKERS)
    supervision = task.count(SUPERVISION, _GIVEN if count else _FREE, _FREE, _GIVEN)
    if not split:
        if count is not None:
            raise InvalidParameter(f"{COUNT} goes with {SPEAKERS}.", param=COUNT)
        return _Channels(None, first_only)
    if first_only:
        told = f"With {SPEAKERS}, ChannelId is a speaker of all channels together: leave first_channel_only out."
        raise UnsupportedFeature(told, param="first_channel_only")
    if supervision == _GIVEN and count is None:
        raise InvalidParameter(f"{SUPERVISION} {_GIVEN} goes with {COUNT}.", param=COUNT)
    service.check_speakers(param=SPEAKERS)
    return _Channels(SpeakerOptions(count if supervision == _GIVEN else None), first_only=False)


def _language(said: str | None, model: ServedModel) -> str | None:
    return None if said is None or said.lower() == "auto" else spoken_language(said, model)


async def _hotwords(task: Payload, model: ServedModel, service: SpeechService, owner: str) -> tuple[Hotword, ...]:
    given = {"hotwords": task.terms("hotwords")}
    said = await asked_hotwords(given, task.text("vocabulary_id", longest=None), model, service, owner)
    name = "class_vocabulary_id"
    listed = task.text(name, longest=None)
    if listed is None:
        return said
    if not listens(model, service):
        raise UnsupportedFeature(f"{model.id} cannot listen for hotwords; leave {name} out.", param=name)
    both = merged(said, await service.vocabulary(owner, listed, param=name))
    most = service.settings.max_hotwords
    if len(both) > most:
        raise InvalidParameter(f"There are more than {most} hotwords together.", param=name)
    return both


def _silence(task: Payload) -> float | None:
    """Seconds; None: as the model usually has it."""
    name = "max_end_silence"
    return None if task.value(name) is None else task.count(name, SILENCES[0], *SILENCES) / 1000


def _version(task: Payload) -> str:
    """Clients send it as text, as they are shown, or as a number."""
    said = task.value("version")
    found = VERSIONS[0] if said is None else next((one for one in VERSIONS if str(said) in {one, one[0]}), None)
    if found is None:
        raise InvalidParameter(f"version must be {' or '.join(VERSIONS)}.", param="version")
    return found


def _words(task: Payload, model: ServedModel) -> bool:
    wanted = task.flag("enable_words", default=False)
    if wanted and not model.capabilities.word_times:
        raise UnsupportedFeature(f"{model.id} cannot time words; leave enable_words out.", param="enable_words")
    return wanted


def _longest(task: Payload) -> int:
    """Characters; 0: as long as it is."""
    name = "sentence_max_length"
    least, most = SENTENCE_CHARACTERS
    return 0 if task.value(name) is None else task.count(name, most, least, most)
