"""How a WebSocket ends after an error: with a code that says whose fault it was, and a reason to read."""

from __future__ import annotations

from app.domain.errors import (
    EndedByOperator,
    ModelStoreError,
    ModelUnavailable,
    Overloaded,
    RequestError,
    SpeechError,
    StorageFull,
)
from app.protocols.sockets import INTERNAL_ERROR, POLICY_VIOLATION, TRY_AGAIN_LATER

LONGEST_REASON = 123
"""Bytes: what a closing message has room for."""


def close_code(error: SpeechError) -> int:
    """The client's fault, come back later, or the server's."""
    if isinstance(error, RequestError | EndedByOperator):  # whom nobody is to try again for
        return POLICY_VIOLATION
    later = isinstance(error, Overloaded | ModelUnavailable | ModelStoreError | StorageFull)
    return TRY_AGAIN_LATER if later else INTERNAL_ERROR


def close_reason(error: SpeechError) -> str:
    """Its message, as much as there is room for: libraries put it into their exceptions, and clients into logs."""
    return error.message.encode(errors="replace")[:LONGEST_REASON].decode(errors="ignore")
