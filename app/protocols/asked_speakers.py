"""Whether a recording's speakers are told apart, in protocols that have just a switch for it."""

from __future__ import annotations

from app.domain.speakers import SpeakerOptions
from app.service.service import SpeechService


def asked_speakers(said: bool | None, service: SpeechService, *, param: str) -> SpeakerOptions | None:
    """What to ask for where a request says yes, no, or nothing (None). `param` is the field that says it, for errors.

    Nothing is yes as far as this server is set to (SPEAKER_DIARIZATION), and can.

    Raises:
        UnsupportedFeature, ModelUnavailable: it says yes, and they cannot be told apart.
    """
    if said is None:
        by_default = service.settings.speaker_diarization == "default" and service.tells_speakers
        return SpeakerOptions() if by_default else None
    if not said:
        return None
    service.check_speakers(param=param)
    return SpeakerOptions()
