"""The page to try the server with, in a browser, and what tells programs where to go."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from app.web.documents import ASYNCAPI, DOCS

PAGE = "/ws/v1/asr/test"
"""Where funasr-api had its test page; browsers also get it at `/`."""
FILES = "/web/"
_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Said here, because a machine's own table of types may be missing or wrong, and browsers run no script of another."""
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_files = StaticFiles(directory=_FOLDER)

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
async def root(request: Request) -> Response:
    """The page for browsers; for programs, what this is and where to go: funasr-api's monitors read it."""
    wants_page = "text/html" in request.headers.get("accept", "")
    response = _page(request) if wants_page else JSONResponse(_banner(request))
    response.headers["vary"] = "Accept"
    return response


@router.api_route(PAGE, methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """The page."""
    return _page(request)


@router.api_route(FILES + "{name:path}", methods=["GET", "HEAD"])
async def file(request: Request, name: str) -> Response:
    """A file of the page: asked for again each time, and sent again only when it has changed."""
    media_type = _TYPES.get(Path(name).suffix)
    if media_type is None or name.endswith(".html"):  # the page has its own address, with its own headers
        raise HTTPException(404)
    response = await _files.get_response(name, request.scope)
    if response.status_code == 200:
        response.headers["content-type"] = media_type
    response.headers.update(_common_headers())
    return response


def _page(request: Request) -> Response:
    response = FileResponse(_FOLDER / "index.html", media_type=_TYPES[".html"], headers=_common_headers())
    response.headers["content-security-policy"] = _policy(request.headers.get("host", ""))
    response.headers["permissions-policy"] = "microphone=(self), camera=(), geolocation=()"
    return response


def _common_headers() -> dict[str, str]:
    return {"cache-control": "no-cache", "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def _policy(host: str) -> str:
    """What the page may do: run and fetch what is this server's, and play a recording that somebody dropped on it."""
    # Older Safaris do not count WebSockets of the same server as 'self'.
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return "; ".join(
        (
            "default-src 'self'",
            f"connect-src 'self'{sockets}",
            "media-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _banner(request: Request) -> dict[str, object]:
    return {
        "message": request.app.title,
        "version": request.app.version,
        "endpoints": {
            "openai_transcriptions": "/v1/audio/transcriptions",
            "openai_translations": "/v1/audio/translations",
            "openai_models": "/v1/models",
            "asr": "/stream/v1/asr",
            "asr_flash": "/stream/v1/FlashRecognizer",
            "asr_models": "/stream/v1/asr/models",
            "asr_health": "/stream/v1/asr/health",
            "oddasr": "/v1/asr",
            "whisper_asr": "/asr",
            "whisper_asr_language": "/detect-language",
            "funasr_recognition": "/recognition",
            "ws_asr": "/ws/v1/asr",
            "ws_funasr": "/ws/funasr",
            "ws_qwen3_asr": "/ws/v1/asr/qwen",
            "openai_realtime": "/v1/realtime",
            "jobs": "/v1/jobs",
            "uploads": "/v1/jobs/uploads",
            "voices": "/v1/voices",
            "vocabularies": "/v1/vocabularies",
            "sensitive_words": "/v1/sensitive_words",
            "page": PAGE,
            "health": "/health",
            "docs": DOCS,
            "asyncapi": ASYNCAPI,
        },
    }
