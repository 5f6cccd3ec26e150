"""Who may ask: the keys, and where requests carry them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable
from urllib.parse import parse_qsl

from starlette.types import Scope

from app.domain.errors import AuthenticationFailed, ConfigUnusable, PermissionDenied

ADMIN_PATH = "/v1/admin"
METRICS_PATH = "/metrics"
_KEY_HEADERS = (b"x-nls-token", b"api-key")
_QUERY_KEYS = ("token", "x_nls_token", "X-NLS-Token", "api_key")
"""Where those put their key who cannot set headers: browsers' sockets, and some of Alibaba's services."""


class Door:
    """Which requests may pass: with an API key, to open paths without, and to /v1/admin with an admin key only.

    An admin key recognises no recordings. It opens /metrics, as an API key does.
    """

    def __init__(
        self, keys: KeyRing, admins: KeyRing, *, open_paths: Collection[str] = (), open_prefixes: tuple[str, ...] = ()
    ) -> None:
        """No admin key at all (an open ring) lets nobody in there."""
        self._keys = keys
        self._admins = admins
        self._open_paths = frozenset(open_paths)
        self._open_prefixes = open_prefixes

    def check(self, scope: Scope) -> None:
        """Let an HTTP request pass.

        Raises:
            AuthenticationFailed: it has no key that opens its path.
            PermissionDenied: no key does, as the server is set up.
        """
        path = str(scope["path"])
        if path == ADMIN_PATH or path.startswith(f"{ADMIN_PATH}/"):
            self._check_admin(scope)
        elif path not in self._open_paths and not path.startswith(self._open_prefixes):
            keys = presented_keys(key_headers(scope))
            watching = path == METRICS_PATH and self._administers(keys)
            if not (self._keys.open or watching or any(self._keys.allows(key) for key in keys)):
                raise AuthenticationFailed("A valid API key is needed: send it as Authorization: Bearer <key>.")

    def _check_admin(self, scope: Scope) -> None:
        if self._admins.open:
            raise PermissionDenied("This server has no admin keys: set ADMIN_KEYS to have some.")
        if not self._administers(presented_keys(scope["headers"])):  # not from the address, which ends up in logs
            told = "A valid admin key (of ADMIN_KEYS; an API key is none) is needed: send it as Authorization: Bearer."
            raise AuthenticationFailed(told)

    def _administers(self, keys: Iterable[str]) -> bool:
        return not self._admins.open and any(self._admins.allows(key) for key in keys)


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


def check_distinct(keys: Collection[str], admins: Collection[str]) -> None:
    """Make sure that no API key is an admin key: whoever may have something recognised could end what others have.

    Raises:
        ConfigUnusable: one is.
    """
    if set(keys) & set(admins):
        told = "A key of ADMIN_KEYS is an API key, too (API_KEYS, APPTOKEN or API_KEY): administrators need keys of"
        raise ConfigUnusable(f"{told} their own.")


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
