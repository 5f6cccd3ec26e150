"""A client's text message: how it wants to be heard, or that it has said everything."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast

from app.domain.errors import InvalidParameter
from app.domain.options import RecognitionOptions
from app.protocols.asked_hotwords import asked_hotwords
from app.protocols.languages import language_code, spoken_language
from app.protocols.live_speakers import ENABLE, VOICES, live_speakers
from app.service.residents import ServedModel
from app.service.service import SpeechService

Mode: TypeAlias = Literal["offline", "online", "2pass"]

LONGEST_MESSAGE = 1024 * 1024
"""Characters: ten thousand hotwords and everything else."""
LONGEST_NAME = 1000
LOWEST_RATE, HIGHEST_RATE = 8_000, 48_000
"""Hz; what FunASR's clients may say."""

_MODES: MappingProxyType[str, Mode] = MappingProxyType(
    {"offline": "offline", "online": "online", "2pass": "2pass", "office": "offline"}  # the C# client's spelling
)
_BARE = frozenset({"", "pcm", "raw", "wav"})
"""Formats whose bytes are samples, unless a RIFF header comes first: clients say one of them and send the other."""
_NO_LANGUAGE = frozenset({"", "auto", "nospeech"})
_COMMANDS = ("START", "STOP", "COMMIT", "HOTWORDS:", "POSTPROCESS_HOTWORDS:", "LANGUAGE:")


class OtherDialect(InvalidParameter):
    """The client speaks funasr-realtime-server's protocol, which is another one."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a client wants to be heard. What it leaves out is as FunASR's C++ server has it.

    `bare`: the bytes are 16-bit samples of one channel at `rate` Hz, not a file in a format. `language` must be known
    to the model, `hint` (SenseVoice's svs_lang) need not be. `near_field` None: as the server is set. `speakers` and
    `voices` are as in live_speakers.
    """

    mode: Mode = "2pass"
    wav_name: str = "wav-default-id"
    bare: bool = True
    rate: int = 16_000
    hotwords: str = ""
    itn: bool = True
    language: str | None = None
    hint: str | None = None
    model: str | None = None
    near_field: bool | None = None
    speakers: bool | None = None
    voices: object = None


@dataclass(frozen=True, slots=True)
class Control:
    """A text message: how to hear what follows; or, if it `ends`, that everything was said.

    `wants_ack`: the client waits for a message that acknowledges the end.
    """

    opening: Opening
    ends: bool = False
    wants_ack: bool = False


def read_control(text: str, before: Opening) -> Control:
    """What a text message says. What it leaves out stays as it was `before`.

    Raises:
        OtherDialect: a command of funasr-realtime-server.
        InvalidParameter: no JSON object, or a value that makes no sense.
    """
    if len(text) > LONGEST_MESSAGE:
        raise InvalidParameter(f"A text message has {LONGEST_MESSAGE} characters at most.")
    if text.strip().upper().startswith(_COMMANDS):
        raise OtherDialect(
            "This is FunASR's runtime protocol: the first message is a JSON object such as "
            '{"mode": "2pass", "is_speaking": true}. The commands of funasr-realtime-server are not spoken here.'
        )
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidParameter("A text message must be a JSON object.")
    said = cast("dict[str, Any]", parsed)
    ends = _flag(said, "is_speaking", default=True) is False or _flag(said, "is_finished", default=False)
    if ends:  # some clients repeat the configuration here, too late to matter
        return Control(before, ends=True, wants_ack=_flag(said, "is_end", default=False))
    return Control(_opening(said, before))


async def options_of(opening: Opening, service: SpeechService, owner: str) -> tuple[ServedModel, RecognitionOptions]:
    """The model that is to answer, and what is asked of it. `owner` is whose voices may be asked for.

    Raises:
        UnknownModel, ModelUnavailable: it cannot answer.
        InvalidParameter: the language, the hotwords or the voices make no sense.
        UnsupportedFeature: they make sense, but not to this model or server.
    """
    model = service.resolve(opening.model)
    options = RecognitionOptions(
        language=_language(opening, model),
        hotwords=await asked_hotwords({"hotwords": (opening.hotwords,)}, None, model, service, owner),
        itn=None if opening.itn else False,
        speakers=await live_speakers({ENABLE: opening.speakers, VOICES: opening.voices}, service, owner),
    )
    return model, options


def _opening(said: dict[str, Any], before: Opening) -> Opening:
    changed = before
    if said.get("mode") is not None:
        changed = replace(changed, mode=_mode(said["mode"]))
    if said.get("wav_name") is not None:
        changed = replace(changed, wav_name=str(said["wav_name"])[:LONGEST_NAME])
    if said.get("wav_format") is not None:
        changed = replace(changed, bare=str(said["wav_format"]).strip().lower() in _BARE)
    if said.get("audio_fs") is not None:
        changed = replace(changed, rate=_rate(said["audio_fs"]))
    if (hotwords := _hotword_text(said)) is not None:
        changed = replace(changed, hotwords=hotwords)
    if said.get("itn") is not None:
        changed = replace(changed, itn=_flag(said, "itn", default=True))
    if said.get("near_field") is not None:
        changed = replace(changed, near_field=_flag(said, "near_field", default=False))
    if said.get(ENABLE) is not None:
        changed = replace(changed, speakers=_flag(said, ENABLE, default=False))
    if VOICES in said:
        changed = replace(changed, voices=said[VOICES])
    for key, name in (("language", "language"), ("svs_lang", "hint"), ("model", "model")):
        if said.get(key) is not None:
            changed = replace(changed, **{name: _word(said, key)})
    return changed


def _mode(said: object) -> Mode:
    mode = _MODES.get(str(said).strip().lower())
    if mode is None:
        raise InvalidParameter("mode must be one of: offline, online, 2pass.", param="mode")
    return mode


def _rate(said: object) -> int:
    try:
        rate = int(said) if isinstance(said, int | float | str) and not isinstance(said, bool) else 0
    except (ValueError, OverflowError):  # also of NaN and infinity
        rate = 0
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        told = f"audio_fs must be a sampling rate between {LOWEST_RATE} and {HIGHEST_RATE} Hz."
        raise InvalidParameter(told, param="audio_fs")
    return rate


def _hotword_text(said: dict[str, Any]) -> str | None:
    """`hotwords` (older clients: `hotword`) as one text; None where nothing is said of them, "" to have none."""
    key = next((name for name in ("hotwords", "hotword") if name in said), None)
    if key is None:
        return None
    given: object = said[key]
    if given is None:
        return ""
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _flag(said: dict[str, Any], key: str, *, default: bool) -> bool:
    """A truth value; clients in languages without one send 0 and 1, or words."""
    value: object = said.get(key)
    if value is None:
        return default
    if isinstance(value, str) and value.strip().lower() in {"true", "1", "false", "0"}:
        return value.strip().lower() in {"true", "1"}
    if isinstance(value, bool | int):
        return bool(value)
    raise InvalidParameter(f"{key} must be true or false.", param=key)


def _word(said: dict[str, Any], key: str) -> str | None:
    if not isinstance(said[key], str):
        raise InvalidParameter(f"{key} must be a string.", param=key)
    return said[key].strip() or None


def _language(opening: Opening, model: ServedModel) -> str | None:
    hint = (opening.hint or "").lower()
    if opening.language is None:
        return None if hint in _NO_LANGUAGE else language_code(hint, model.capabilities.languages)
    if opening.language.lower() in _NO_LANGUAGE:
        return None
    return spoken_language(opening.language, model)
