"""Who asks, as every protocol reads it from a request."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from app.service.admission import Caller
from app.service.auth import KeyRing, key_headers
from app.service.routes import route_of

# Shows the key field in the documentation and checks nothing: keys are checked before a body is read.
_documented_key = HTTPBearer(auto_error=False, description="One of API_KEYS; anything when none is set.")
Key = Annotated[HTTPAuthorizationCredentials | None, Security(_documented_key)]


def caller(request: Request) -> Caller:
    """Who asks; OpenAI's SDKs say how long they wait for an answer (a stream answers long before its end)."""
    keyring: KeyRing = request.app.state.keyring
    try:
        patience = float(request.headers.get("x-stainless-read-timeout", ""))
    except ValueError:
        patience = math.nan
    return Caller(
        keyring.owner(key_headers(request.scope)),
        patience if 0 < patience < math.inf else None,
        *origin(request),
    )


def origin(connection: HTTPConnection) -> tuple[str, str, str]:
    """The last three fields of a Caller: address, name for the log, path (its route's: names and ids are left out)."""
    address = connection.client.host if connection.client else ""
    return address, str(getattr(connection.state, "request_id", "-")), route_of(connection.scope)
