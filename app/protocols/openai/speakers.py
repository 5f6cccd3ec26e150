"""What a request says about speakers: whether to tell them apart, how many there are, and who may be among them."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

from app.audio.declared import declared_sound
from app.audio.storing import not_stored, room_for_recording
from app.domain.errors import InvalidParameter, UndecodableAudio
from app.domain.options import Task
from app.domain.speakers import KnownVoice, SpeakerOptions
from app.protocols.forms import Form, bounded
from app.service.admission import Ticket
from app.service.service import SpeechService
from app.service.voices.names import clean_name, name_key
from app.settings import Settings

DIARIZED = "diarized_json"
SHOWING = frozenset({"verbose_json", "srt", "vtt", DIARIZED})
"""Formats with a place for speakers."""
MAX_SPEAKERS = 50
MAX_KNOWN = 16
"""Known speakers a request may bring; OpenAI takes four."""
MAX_ROLES = 8
"""As many as a recording's channels may be kept apart."""
ALL_VOICES = "all"
_SWITCH = "enable_speaker_diarization"
SPEAKER_FIELDS = frozenset(
    {
        _SWITCH,
        "num_speakers",
        "min_speakers",
        "max_speakers",
        "known_speaker_names",
        "known_speaker_references",
        "voices",
        "channel_split",
        "channel_roles",
    }
)
_ABOUT_SPEAKERS = tuple(sorted(SPEAKER_FIELDS - {_SWITCH, "channel_split", "channel_roles"}))
_DATA_URL = re.compile(r"data:(?P<type>[^,]*?)(?P<coded>;base64)?,(?P<data>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SpeakerWishes:
    """`options` None: speakers are not to be told apart. `asked_by` is the field that says so; None: the default does.

    `voices` are names or ids of enrolled voices (None: none are looked for, empty: all of the caller's). `references`
    are names with recordings of these people as data URLs.
    """

    options: SpeakerOptions | None = None
    asked_by: str | None = None
    voices: tuple[str, ...] | None = None
    references: tuple[tuple[str, str], ...] = ()
    split_channels: bool = False
    roles: tuple[str, ...] = ()


def read_speaker_wishes(form: Form, task: Task, shape: str, settings: Settings) -> SpeakerWishes:
    """What the request says about speakers. `shape` is the answer's format.

    Raises:
        InvalidParameter: a value makes no sense, or fields contradict each other.
    """
    said = form.flag(_SWITCH)
    split = form.flag("channel_split") or False
    if (roles := _names(form, "channel_roles", MAX_ROLES)) and not split:
        raise InvalidParameter("channel_roles go with channel_split=true.", param="channel_roles")
    options = _options(form)
    references = _references(form)
    voices = _voices(form)
    given = next((name for name in _ABOUT_SPEAKERS if form.repeated(name)), None)
    _check_contradictions(said, shape, given, split=split)
    by_format = "response_format" if shape == DIARIZED and not split else None
    asked_by = _SWITCH if said else given or by_format
    by_default = said is None and settings.speaker_diarization == "default" and task == "transcribe"
    if (asked_by is None and not by_default) or shape not in SHOWING:
        return SpeakerWishes(split_channels=split, roles=roles)
    return SpeakerWishes(options, asked_by, voices, references, split, roles)


def _check_contradictions(said: bool | None, shape: str, given: str | None, *, split: bool) -> None:
    if split and given:
        raise InvalidParameter(f"With channel_split each channel is a speaker; leave {given} out.", param=given)
    if said is False and given:
        raise InvalidParameter(f"{_SWITCH}=false contradicts {given}.", param=given)
    if said is False and shape == DIARIZED and not split:
        raise InvalidParameter(f"{_SWITCH}=false contradicts response_format={DIARIZED}.", param=_SWITCH)


def _options(form: Form) -> SpeakerOptions:
    count, least, most = (_whole(form, f"{which}_speakers") for which in ("num", "min", "max"))
    if count is not None and (least is not None or most is not None):
        raise InvalidParameter("num_speakers goes without min_speakers and max_speakers.", param="num_speakers")
    if least is not None and most is not None and least > most:
        raise InvalidParameter("min_speakers is more than max_speakers.", param="min_speakers")
    return SpeakerOptions(count, least or 1, most)


def _whole(form: Form, name: str) -> int | None:
    said = form.text(name)
    if said is None:
        return None
    number = bounded(said, name, 1, MAX_SPEAKERS)
    if number != int(number):
        raise InvalidParameter(f"{name} must be a whole number.", param=name)
    return int(number)


def _names(form: Form, name: str, most: int) -> tuple[str, ...]:
    names = form.items(name)
    if len(names) > most:
        raise InvalidParameter(f"{name} takes {most} names at most.", param=name)
    try:
        cleaned = tuple(clean_name(one) for one in names)
    except InvalidParameter as error:
        raise InvalidParameter(f"{name}: {error.message}", param=name) from error
    if len({name_key(one) for one in cleaned}) < len(cleaned):
        raise InvalidParameter(f"{name} has a name twice.", param=name)
    return cleaned


def _references(form: Form) -> tuple[tuple[str, str], ...]:
    names = _names(form, "known_speaker_names", MAX_KNOWN)
    urls = form.repeated("known_speaker_references")
    if len(names) != len(urls):
        told = f"{len(names)} known_speaker_names came with {len(urls)} known_speaker_references; each needs one."
        raise InvalidParameter(told, param="known_speaker_references")
    return tuple(zip(names, urls, strict=True))


def _voices(form: Form) -> tuple[str, ...] | None:
    names = tuple(dict.fromkeys(form.items("voices")))
    if not names:
        return None
    return () if names == (ALL_VOICES,) else names


async def known_voices(
    wishes: SpeakerWishes, service: SpeechService, owner: str, ticket: Ticket
) -> tuple[KnownVoice, ...]:
    """The voices that may be named: enrolled ones of `owner`, and those whose recordings came with the request.

    Raises:
        UnknownVoice: `owner` has no such voice.
        SpeechError: a reference is not sound of one person's voice; `param` says which.
    """
    known: list[KnownVoice] = []
    if wishes.voices is not None:
        known += await service.voices.known(owner, service.encoder_id, wishes.voices or None)
    for place, (name, url) in enumerate(wishes.references):
        known.append(await _referenced(service, name, url, ticket, f"known_speaker_references[{place}]"))
    return tuple(known)


async def _referenced(service: SpeechService, name: str, url: str, ticket: Ticket, param: str) -> KnownVoice:
    media_type, sound = _decoded(url, param)
    try:
        declared = declared_sound(media_type)
    except UndecodableAudio as error:
        raise UndecodableAudio(error.message, param=param) from error
    told = "The reference could not be stored."
    with room_for_recording(service.settings.temp_dir, told) as stored:
        try:
            stored.write(sound)
            stored.flush()
        except OSError as error:
            raise not_stored(error, told) from error
        return KnownVoice(name, (await service.voiceprint(Path(stored.name), ticket, declared, param),))


def _decoded(url: str, param: str) -> tuple[str, bytes]:
    """A data URL's media type and bytes."""
    match = _DATA_URL.fullmatch(url.strip())
    if match is None or not match["coded"]:
        raise InvalidParameter(f"{param} must be a data URL: data:audio/wav;base64,...", param=param)
    try:
        return match["type"], base64.b64decode("".join(match["data"].split()), validate=True)
    except ValueError as error:  # not base64, or not even ASCII
        raise InvalidParameter(f"{param} is not base64.", param=param) from error
