"""What describes the server to people and programs: the OpenAPI document, drawn by two viewers, and the AsyncAPI
document of its live protocols."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import FileResponse
from starlette.responses import HTMLResponse, Response

DOCS, REDOC, ASYNCAPI = "/docs", "/redoc", "/asyncapi.yaml"
VIEWERS = "/static-offline-docs"
"""Where fastapi-offline serves the viewers' files."""
DOCUMENT = Path(__file__).parent / "asyncapi.yaml"
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)

router = APIRouter(include_in_schema=False)


@router.get(DOCS)
async def docs(request: Request) -> Response:
    """The OpenAPI document in Swagger UI, to try requests with."""
    root = _root(request)
    page = get_swagger_ui_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=f"{request.app.title} - Swagger UI",
        swagger_js_url=f"{root}{VIEWERS}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{VIEWERS}/swagger-ui.css",
        swagger_favicon_url=f"{root}{VIEWERS}/favicon.png",
    )
    return _viewer(page)


@router.get(REDOC)
async def redoc(request: Request) -> Response:
    """The OpenAPI document in ReDoc, to read."""
    root = _root(request)
    page = get_redoc_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=f"{request.app.title} - ReDoc",
        redoc_js_url=f"{root}{VIEWERS}/redoc.standalone.js",
        redoc_favicon_url=f"{root}{VIEWERS}/favicon.png",
        with_google_fonts=False,
    )
    return _viewer(page)


@router.get(ASYNCAPI)
async def asyncapi() -> Response:
    """The live protocols."""
    return FileResponse(DOCUMENT, media_type="application/yaml", headers={"cache-control": "no-cache"})


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")


def _viewer(page: HTMLResponse) -> Response:
    """The page, allowed its own inline script and no other."""
    scripts = _INLINE_SCRIPT.findall(bytes(page.body).decode())
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    page.headers["content-security-policy"] = "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *(f"'sha256-{digest}'" for digest in digests))),
            "style-src 'self' 'unsafe-inline'",  # both viewers write their styles while they run
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src blob:",  # ReDoc searches in one
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    page.headers["cache-control"] = "no-cache"
    return page
