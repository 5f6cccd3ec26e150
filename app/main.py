"""Putting the house together: the application, and the server that runs it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from app import __version__
from app.domain.meters import Meters
from app.ports import Ending, ServedApp, ServedTcp, serve_all
from app.protocols import health, metrics
from app.protocols.admin import http as admin_http
from app.protocols.aliyun import ws as aliyun_ws
from app.protocols.aliyun.filetrans import errors as filetrans_errors
from app.protocols.aliyun.filetrans import http as filetrans_http
from app.protocols.aliyun.filetrans import notices as filetrans_notices
from app.protocols.aliyun.rest import errors as aliyun_errors
from app.protocols.aliyun.rest import http as aliyun_http
from app.protocols.errors import Faces
from app.protocols.funasr import http as funasr_http
from app.protocols.funasr import ws as funasr_ws
from app.protocols.jobs import http as jobs_http
from app.protocols.jobs import notices as jobs_notices
from app.protocols.oddasr import ws as oddasr_ws
from app.protocols.oddasr.rest import errors as oddasr_errors
from app.protocols.oddasr.rest import http as oddasr_http
from app.protocols.oddasr.rest import pages as oddasr_pages
from app.protocols.oddasr.rest import platform as oddasr_platform
from app.protocols.oddasr.rest import tasks as oddasr_tasks
from app.protocols.oddasr.rest import word_lists as oddasr_word_lists
from app.protocols.openai import errors as openai_errors
from app.protocols.openai import http as openai_http
from app.protocols.openai import limits as openai_limits
from app.protocols.openai import streaming as openai_streaming
from app.protocols.openai.realtime import http as realtime_http
from app.protocols.openai.realtime import ws as realtime_ws
from app.protocols.qwen import ws as qwen_ws
from app.protocols.spellings import Spellings
from app.protocols.tus import errors as tus_errors
from app.protocols.tus import http as tus_http
from app.protocols.vocabularies import http as vocabularies_http
from app.protocols.vocabularies import sensitive as sensitive_http
from app.protocols.voices import http as voices_http
from app.protocols.whisper_asr import errors as whisper_asr_errors
from app.protocols.whisper_asr import http as whisper_asr_http
from app.protocols.wyoming import tcp as wyoming_tcp
from app.protocols.wyoming.events import LONGEST_LINE as WYOMING_LINE
from app.service import descriptors, logs
from app.service.access import AccessLog
from app.service.auth import METRICS_PATH, KeyRing, check_distinct
from app.service.certificates import tls_of
from app.service.counting import Counting
from app.service.database import database_url
from app.service.giving_up import GivingUp
from app.service.headers import shielded
from app.service.jobs.job import Face
from app.service.jobs.messages import Drawer
from app.service.lifecycle import Lifecycle
from app.service.metrics.cards import Cards
from app.service.metrics.meter import PrometheusMeter
from app.service.quota_file import read_key_limits
from app.service.secrets import EphemeralKeys
from app.service.service import SpeechService
from app.service.tracing import tracing_of
from app.service.uploads import OPEN_PATHS, Bound, RequestId, UploadGuard
from app.settings import Settings
from app.web import documents, pages

if TYPE_CHECKING:
    from app.service.spans import Tracing

_logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Recordings in, transcripts out. Point an OpenAI client at `/v1`, speak at [/](/), or try it below.
Live protocols: [/asyncapi.yaml](/asyncapi.yaml).
`python start.py sample` fetches a real phone call to send.
"""


_ROUTERS = (
    openai_http.router,
    realtime_http.router,
    realtime_ws.router,
    tus_http.router,  # before the jobs, of whose paths its own could be ids
    jobs_http.router,
    voices_http.router,
    vocabularies_http.router,
    sensitive_http.router,
    health.router,
    metrics.router,
    admin_http.router,
    aliyun_http.router,
    filetrans_http.router,  # before the page, with which it shares `/`
    aliyun_ws.router,
    funasr_ws.router,
    funasr_http.router,
    qwen_ws.router,
    whisper_asr_http.router,
    oddasr_http.router,
    oddasr_tasks.router,
    oddasr_word_lists.router,
    oddasr_platform.router,
    oddasr_pages.router,
    pages.router,
    documents.router,
)
"""In the order in which the documentation shows them."""
_DRAWERS: Mapping[Face, Drawer] = MappingProxyType({"jobs": jobs_notices.draw, "aliyun": filetrans_notices.draw})
"""What owners of jobs are told at their webhooks, by the protocol that each was asked in."""


def create_app(settings: Settings) -> FastAPI:
    """The application. Its lifespan builds the service, loads models in the background and closes everything."""
    application = FastAPIOffline(
        title="Speech server",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=_lifespan_of(settings),
        license_info={"name": "MIT"},
        docs_url=None,  # app.web.documents has both viewers, with what they may do
        redoc_url=None,
        redirect_slashes=False,  # a redirected upload is sent twice, or lost
    )
    for router in _ROUTERS:
        application.include_router(router)
    faces = _faces(settings)
    faces.install(application)
    application.state.keyring = keyring = KeyRing(settings.keys)
    admin_keys = [key.get_secret_value() for key in settings.admin_keys]
    check_distinct(settings.keys, admin_keys)
    application.state.ephemeral_keys = EphemeralKeys()
    application.state.lifecycle = Lifecycle()
    application.state.metrics = PrometheusMeter()
    application.state.cards = Cards()
    application.state.tracing = tracing = tracing_of(settings)
    if settings.key_limits_file is not None:
        read_key_limits(settings.key_limits_file)  # what is wrong in it is told before anything listens
    database_url(settings.jobs_url, "JOBS_DATABASE_URL")  # so is what is wrong with that
    of_jobs = Bound(settings.max_job_audio_size, "MAX_JOB_AUDIO_SIZE")
    application.add_middleware(openai_limits.RequestsLeft)
    application.add_middleware(
        UploadGuard,
        keyring=keyring,
        admins=KeyRing(admin_keys),
        max_bytes=settings.max_audio_size,
        bounds=dict.fromkeys([jobs_http.router.prefix, oddasr_tasks.PATH], of_jobs),
        idle_seconds=settings.upload_idle_seconds,
        refuse=faces.refusal,
        open_paths=OPEN_PATHS
        | filetrans_errors.OPEN_PATHS
        | oddasr_pages.PATHS
        | {documents.ASYNCAPI}
        | ({METRICS_PATH} if settings.metrics_open else set()),
    )
    application.add_middleware(
        GivingUp,
        lifecycle=application.state.lifecycle,
        refuse=faces.refusal,
        last_event=openai_streaming.last_event,
    )
    application.add_middleware(AccessLog)
    application.add_middleware(Counting, meter=application.state.metrics)
    if tracing is not None:
        application.add_middleware(tracing.traced)
    application.add_middleware(Spellings)
    application.add_middleware(RequestId)
    _shield(application, settings)
    return application


def _shield(application: FastAPI, settings: Settings) -> None:
    """Put headers on everything: unforeseen failures are answered outside of all middleware that can be added."""
    within = application.build_middleware_stack

    def stack() -> ASGIApp:
        return shielded(within(), origins=settings.cors_origins, hsts_seconds=settings.hsts_seconds)

    application.build_middleware_stack = stack


def _lifespan_of(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncGenerator[None, None]:
        tracing: Tracing | None = application.state.tracing
        told = [application.state.metrics, *([tracing.meter] if tracing else [])]
        service = SpeechService(settings, Meters(told), _DRAWERS)
        service.jobs.follow(application.state.lifecycle)
        application.state.service = service
        application.state.started = time.monotonic()
        shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - only compared
        scheme = "http" if settings.tls_cert_file is None else "https"
        _logger.info("listening on %s://%s:%d - page at /, documentation at /docs", scheme, shown, settings.port)
        for name in settings.unknown_names():
            _logger.warning("the variable %s is set, but no setting has that name", name)
        for note in settings.without_effect():
            _logger.warning("%s", note)
        if settings.log_transcripts:
            _logger.warning("%s", logs.TRANSCRIPTS_LOGGED)
        # In the background, so that /health/live answers from the first moment.
        starting = asyncio.create_task(service.start())
        try:
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await service.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)

    return lifespan


def _faces(settings: Settings) -> Faces:
    """Which protocol's errors are whose."""
    others = {
        "/asr": whisper_asr_errors.face,
        "/detect-language": whisper_asr_errors.face,
        "/recognition": funasr_http.face,
        tus_http.router.prefix: tus_errors.face,
        aliyun_errors.PATH: aliyun_errors.face_of(settings),
        **filetrans_errors.FACES,
        **oddasr_errors.FACES,
    }
    return Faces(openai_errors.face, others)


def _outside(application: FastAPI, own: ASGIApp, settings: Settings) -> ASGIApp:
    """A protocol for a port of its own, with what the main port has round everything."""
    tracing: Tracing | None = application.state.tracing
    return shielded(tracing.traced(own) if tracing else own, hsts_seconds=settings.hsts_seconds)


def serve(settings: Settings) -> None:
    """Listen until told to stop."""
    logs.configure(settings)
    tls = tls_of(settings)
    most_connections = descriptors.prepare(settings)
    application = create_app(settings)
    proxies = tuple(str(network) for network in settings.forwarded_allow_ips)
    others: list[ServedApp | ServedTcp] = [
        ServedApp(
            _outside(application, wire.application_of(application), settings),
            host or settings.host,
            port,
            setting,
            host_setting,
            proxies,
        )
        for wire, host, host_setting, port, setting in [
            (funasr_ws, None, "HOST", settings.funasr_ws_port, "FUNASR_WS_PORT"),
            (oddasr_ws, settings.oddasr_ws_host, "ODDASR_WS_HOST", settings.oddasr_ws_port, "ODDASR_WS_PORT"),
        ]
        if port is not None
    ]
    if settings.oddasr_http_port is not None:
        port = settings.oddasr_http_port
        others.append(ServedApp(application, settings.host, port, "ODDASR_HTTP_PORT", proxies=proxies))
    if settings.wyoming_port is not None:
        wyoming = wyoming_tcp.protocol_of(application)
        others.append(ServedTcp(wyoming, WYOMING_LINE, settings.host, settings.wyoming_port, "WYOMING_PORT"))
        if settings.keys:
            _logger.warning("%s", wyoming_tcp.NO_KEYS)
        if tls is not None:
            _logger.warning("Wyoming has no TLS: what is said at WYOMING_PORT is not encrypted")
    main = ServedApp(application, settings.host, settings.port, "PORT", proxies=proxies)
    serve_all(
        main,
        others,
        ending=Ending(settings.shutdown_delay_seconds, settings.shutdown_seconds),
        lifecycle=application.state.lifecycle,
        tls=tls,
        most_connections=most_connections,
    )
