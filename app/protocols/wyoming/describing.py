"""What a server tells of itself: the event `info`."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from app import __version__
from app.modelstore.catalog import CATALOG
from app.protocols.wyoming.events import Event
from app.service.residents import ServedModel
from app.service.service import SpeechService

PROGRAM = "speech-server"


def info(service: SpeechService) -> Event:
    """The one program and the models that answer, the default first.

    Raises:
        ModelUnavailable: none does yet. Who is told of none would take this server for one that hears nothing.
    """
    service.resolve(None)
    program: dict[str, object] = {
        "name": PROGRAM,
        "description": "Speech recognition",
        "attribution": {"name": PROGRAM, "url": ""},
        "installed": True,
        "version": __version__,
        "models": [_model(model) for model in service.models()],
        "supports_transcript_streaming": True,
        "requires_external_vad": True,  # audio-stop is the client's to send
    }
    return Event("info", {"asr": [program]})


def _model(model: ServedModel) -> dict[str, object]:
    homepage = entry.homepage if (entry := CATALOG.model(model.id)) else ""
    maker = PurePosixPath(urlsplit(homepage).path).parent.name  # of https://hub/maker/model
    return {
        "name": model.id,
        "description": model.description,
        "attribution": {"name": maker, "url": homepage},
        "installed": True,
        "version": None,
        "languages": sorted(model.capabilities.languages),
    }
