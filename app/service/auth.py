"""Who may ask: the keys, and where requests carry them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import parse_qsl

from starlette.types import Scope

_KEY_HEADERS = (b"x-nls-token", b"api-key")
_QUERY_KEYS = ("token", "x_nls_token", "X-NLS-Token", "api_key")
"""Where those put their key who cannot set headers: browsers' sockets, and some of Alibaba's services."""


class KeyRing:
    """The accepted keys, kept as digests. An empty ring lets everybody in."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys if key)

    @property
    def open(self) -> bool:
        """Whether no key is needed."""
        return not self._digests

    def allows(self, presented: str | None) -> bool:
        """Whether `presented` is one of the keys.

        Every key is compared in constant time and none ends the search early, so that how long an answer takes says
        nothing about how near a guess was.
        """
        if self.open:
            return True
        digest = _digest(presented or "")
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return presented is not None and any(matches)

    def owner(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """A name for the accepted key in `headers`, which does not tell the key; "" where none is needed."""
        if self.open:
            return ""
        return next((_digest(key).hex()[:16] for key in presented_keys(headers) if self.allows(key)), "")


def presented_keys(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Keys of an ASGI request's headers: Authorization: Bearer, X-NLS-Token, api-key, in that order."""
    received = [(name.lower(), value.strip()) for name, value in headers]
    keys: list[bytes] = []
    for name, value in received:
        scheme, _, key = value.partition(b" ")
        if name == b"authorization" and scheme.lower() == b"bearer":
            keys.append(key.strip())
    keys += [value for wanted in _KEY_HEADERS for name, value in received if name == wanted]
    return [key.decode(errors="surrogateescape") for key in keys if key]


def key_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """A request's headers, and the keys in its address as if they were headers."""
    # As text: of bytes, the parser takes ASCII only, percent-encoded or not.
    text = scope.get("query_string", b"").decode(errors="surrogateescape")
    query = parse_qsl(text, errors="surrogateescape")
    keys = (value.encode(errors="surrogateescape") for name, value in query if name in _QUERY_KEYS)
    return [*scope["headers"], *((b"x-nls-token", key) for key in keys)]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
