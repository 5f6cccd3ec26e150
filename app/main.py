"""Putting the house together: the application, and the server that runs it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi_offline import FastAPIOffline

from app import __version__
from app.protocols import health
from app.protocols.openai import errors as openai_errors
from app.protocols.openai import http as openai_http
from app.protocols.vocabularies import http as vocabularies_http
from app.protocols.voices import http as voices_http
from app.service import logs
from app.service.auth import KeyRing
from app.service.connections import GuardedHttp
from app.service.service import SpeechService
from app.service.uploads import RequestId, UploadGuard
from app.settings import Settings

_logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Recordings in, transcripts out. Point an OpenAI client at `/v1`, or try it below.
`python start.py sample` fetches a real phone call to send.
"""


def create_app(settings: Settings) -> FastAPI:
    """The application. Its lifespan builds the service, loads models in the background and closes everything."""

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncGenerator[None, None]:
        service = SpeechService(settings)
        application.state.service = service
        application.state.started = time.monotonic()
        for name in settings.unknown_names():
            _logger.warning("the variable %s is set, but no setting has that name", name)
        for note in settings.without_effect():
            _logger.warning("%s", note)
        # In the background, so that /health/live answers from the first moment.
        starting = asyncio.create_task(service.start())
        try:
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await service.close()

    application = FastAPIOffline(
        title="Speech server",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        license_info={"name": "MIT"},
        redirect_slashes=False,  # a redirected upload is sent twice, or lost
    )
    application.include_router(openai_http.router)
    application.include_router(voices_http.router)
    application.include_router(vocabularies_http.router)
    application.include_router(health.router)
    application.add_api_route("/", _banner, include_in_schema=False)
    openai_errors.install(application)
    application.state.keyring = keyring = KeyRing(settings.keys)
    application.add_middleware(
        UploadGuard,
        keyring=keyring,
        max_bytes=settings.max_audio_size,
        idle_seconds=settings.upload_idle_seconds,
        refuse=openai_errors.refusal,
    )
    application.add_middleware(RequestId)
    return application


async def _banner(request: Request) -> dict[str, object]:
    """What this is and where to go: kept from funasr-api, whose monitors read it."""
    return {
        "message": request.app.title,
        "version": request.app.version,
        "endpoints": {
            "openai_transcriptions": "/v1/audio/transcriptions",
            "openai_translations": "/v1/audio/translations",
            "openai_models": "/v1/models",
            "voices": "/v1/voices",
            "vocabularies": "/v1/vocabularies",
            "health": "/health",
            "docs": "/docs",
        },
    }


def serve(settings: Settings) -> None:
    """Listen until told to stop."""
    logs.configure(settings)
    shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - only compared
    _logger.info("listening on http://%s:%d - documentation at /docs, state at /health", shown, settings.port)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        http=GuardedHttp,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=30,
    )
