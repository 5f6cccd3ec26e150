"""Putting the house together: the application, and the server that runs it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import __version__
from app.ports import ServedApp, ServedTcp, serve_all
from app.protocols import health
from app.protocols.aliyun import ws as aliyun_ws
from app.protocols.aliyun.rest import errors as aliyun_errors
from app.protocols.aliyun.rest import http as aliyun_http
from app.protocols.errors import Faces
from app.protocols.funasr import http as funasr_http
from app.protocols.funasr import ws as funasr_ws
from app.protocols.oddasr import ws as oddasr_ws
from app.protocols.oddasr.rest import errors as oddasr_errors
from app.protocols.oddasr.rest import http as oddasr_http
from app.protocols.oddasr.rest import pages as oddasr_pages
from app.protocols.oddasr.rest import platform as oddasr_platform
from app.protocols.oddasr.rest import word_lists as oddasr_word_lists
from app.protocols.openai import errors as openai_errors
from app.protocols.openai import http as openai_http
from app.protocols.openai.realtime import http as realtime_http
from app.protocols.openai.realtime import ws as realtime_ws
from app.protocols.qwen import ws as qwen_ws
from app.protocols.spellings import Spellings
from app.protocols.vocabularies import http as vocabularies_http
from app.protocols.vocabularies import sensitive as sensitive_http
from app.protocols.voices import http as voices_http
from app.protocols.whisper_asr import errors as whisper_asr_errors
from app.protocols.whisper_asr import http as whisper_asr_http
from app.protocols.wyoming import tcp as wyoming_tcp
from app.protocols.wyoming.events import LONGEST_LINE as WYOMING_LINE
from app.service import logs
from app.service.auth import KeyRing
from app.service.secrets import EphemeralKeys
from app.service.service import SpeechService
from app.service.uploads import OPEN_PATHS, RequestId, UploadGuard
from app.settings import Settings
from app.web import pages

_logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Recordings in, transcripts out. Point an OpenAI client at `/v1`, speak at [/](/), or try it below.
`python start.py sample` fetches a real phone call to send.
"""


_ROUTERS = (
    openai_http.router,
    realtime_http.router,
    realtime_ws.router,
    voices_http.router,
    vocabularies_http.router,
    sensitive_http.router,
    health.router,
    aliyun_http.router,
    aliyun_ws.router,
    funasr_ws.router,
    funasr_http.router,
    qwen_ws.router,
    whisper_asr_http.router,
    oddasr_http.router,
    oddasr_word_lists.router,
    oddasr_platform.router,
    oddasr_pages.router,
    pages.router,
)
"""In the order in which the documentation shows them."""


def create_app(settings: Settings) -> FastAPI:
    """The application. Its lifespan builds the service, loads models in the background and closes everything."""
    application = FastAPIOffline(
        title="Speech server",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=_lifespan_of(settings),
        license_info={"name": "MIT"},
        redirect_slashes=False,  # a redirected upload is sent twice, or lost
    )
    for router in _ROUTERS:
        application.include_router(router)
    faces = _faces(settings)
    faces.install(application)
    application.state.keyring = keyring = KeyRing(settings.keys)
    application.state.ephemeral_keys = EphemeralKeys()
    application.add_middleware(
        UploadGuard,
        keyring=keyring,
        max_bytes=settings.max_audio_size,
        idle_seconds=settings.upload_idle_seconds,
        refuse=faces.refusal,
        open_paths=OPEN_PATHS | oddasr_pages.PATHS,
    )
    application.add_middleware(Spellings)
    application.add_middleware(RequestId)
    return application


def _lifespan_of(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncGenerator[None, None]:
        service = SpeechService(settings)
        application.state.service = service
        application.state.started = time.monotonic()
        shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - only compared
        _logger.info("listening on http://%s:%d - page at /, documentation at /docs", shown, settings.port)
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

    return lifespan


def _faces(settings: Settings) -> Faces:
    """Which protocol's errors are whose."""
    others = {
        "/asr": whisper_asr_errors.face,
        "/detect-language": whisper_asr_errors.face,
        "/recognition": funasr_http.face,
        aliyun_errors.PATH: aliyun_errors.face_of(settings),
        **oddasr_errors.FACES,
    }
    return Faces(openai_errors.face, others)


def serve(settings: Settings) -> None:
    """Listen until told to stop."""
    logs.configure(settings)
    application = create_app(settings)
    others: list[ServedApp | ServedTcp] = [
        ServedApp(wire.application_of(application), host or settings.host, port, setting, host_setting)
        for wire, host, host_setting, port, setting in [
            (funasr_ws, None, "HOST", settings.funasr_ws_port, "FUNASR_WS_PORT"),
            (oddasr_ws, settings.oddasr_ws_host, "ODDASR_WS_HOST", settings.oddasr_ws_port, "ODDASR_WS_PORT"),
        ]
        if port is not None
    ]
    if settings.oddasr_http_port is not None:
        others.append(ServedApp(application, settings.host, settings.oddasr_http_port, "ODDASR_HTTP_PORT"))
    if settings.wyoming_port is not None:
        wyoming = wyoming_tcp.protocol_of(application)
        others.append(ServedTcp(wyoming, WYOMING_LINE, settings.host, settings.wyoming_port, "WYOMING_PORT"))
        if settings.keys:
            _logger.warning("%s", wyoming_tcp.NO_KEYS)
    serve_all(ServedApp(application, settings.host, settings.port, "PORT"), others)
