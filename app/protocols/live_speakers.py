"""What a live stream's first message says about speakers, in every protocol that has a place for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from app.domain.errors import InvalidParameter
from app.domain.speakers import SpeakerOptions
from app.service.service import SpeechService

ENABLE, VOICES = "enable_speaker_diarization", "voices"
"""The fields' names, those of the HTTP routes."""
_ALL = "all"


async def live_speakers(said: Mapping[str, Any], service: SpeechService, owner: str) -> SpeakerOptions | None:
    """What to ask of the stream for `said`, a JSON object with or without these fields; None: nobody asked.

    `enable_speaker_diarization` is true or false; `voices` are names or ids of voices that `owner` has enrolled, or
    "all" for all of them, and imply the former.

    Raises:
        InvalidParameter: a value makes no sense.
        UnsupportedFeature: speakers cannot be told apart here.
        UnknownVoice: `owner` has no such voice.
    """
    enabled = _enabled(said.get(ENABLE))
    voices = _voices(said.get(VOICES))
    if enabled is False and voices is not None:
        raise InvalidParameter(f"{ENABLE}=false contradicts {VOICES}.", param=VOICES)
    if not enabled and voices is None:
        return None
    service.check_speakers(param=VOICES if voices is not None else ENABLE)
    if voices is None:
        return SpeakerOptions()
    return SpeakerOptions(voices=tuple(await service.voices.known(owner, service.encoder_id, voices or None)))


def _enabled(said: object) -> bool | None:
    """Yes, no, or nothing said; some clients send 0 and 1, or words."""
    if said is None or said == "":
        return None
    word = str(said).strip().lower()
    if word not in {"true", "1", "false", "0"}:
        raise InvalidParameter(f"{ENABLE} is true or false.", param=ENABLE)
    return word in {"true", "1"}


def _voices(said: object) -> tuple[str, ...] | None:
    """Names; empty: all there are. None: nobody is looked for."""
    if said is None or said in ("", []):
        return None
    if isinstance(said, str):
        said = [name.strip() for name in said.split(",") if name.strip()]
    if not isinstance(said, list) or not all(isinstance(name, str) for name in cast("list[object]", said)):
        raise InvalidParameter(f'{VOICES} is a list of names, or "{_ALL}".', param=VOICES)
    names = cast("list[str]", said)
    if not names:
        return None
    return () if names == [_ALL] else tuple(dict.fromkeys(names))
