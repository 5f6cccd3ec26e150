"""The addresses of OddASR's own pages, which browsers have as bookmarks: all of it is on this server's page."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

PATHS = frozenset(
    {
        "/index.html",
        "/login.html",
        "/asr_file.html",
        "/asr_live.html",
        "/asr_sentence.html",
        "/hotwords.html",
        "/hotwords_show.html",
        "/settings_hotwords_show.html",
        "/sensiwords.html",
        "/sensiwords_show.html",
    }
)
"""They need no key, as the page does not, which asks for one where it is needed."""
_PAGE = "/"
_NO_LOGIN = "Nobody logs in here: every request has its API key, if this server has any, and the page asks for it."

router = APIRouter(include_in_schema=False)


async def to_the_page() -> Response:
    """Off to where it is now."""
    return RedirectResponse(_PAGE, 302)


for _path in sorted(PATHS):
    router.add_api_route(_path, to_the_page, methods=["GET", "HEAD"])


@router.post("/login")
async def login() -> Response:
    """There are no users to log in."""
    raise HTTPException(501, _NO_LOGIN)
