"""Keys for a short while, which a server gets for its users' browsers: they open live sessions and nothing else."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from app.domain.errors import Overloaded

PREFIX = "ek_"
"""What all of them begin with, and no other key should."""
SHORTEST, USUAL, LONGEST = 10, 600, 7200
"""Seconds that a key may be good for."""
_MOST_OF_AN_OWNER = 1000
"""A key a second for a quarter of an hour, whatever else the server does meanwhile."""


@dataclass(frozen=True, slots=True)
class EphemeralKey:
    """A new key. `expires_at` is in whole seconds since 1970."""

    value: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key stands for: whose it is (as KeyRing.owner says), and the session that was asked for with it."""

    owner: str
    session: str
    expires_at: int


class EphemeralKeys:
    """All that are good now, as digests, in memory: a restart ends them. Belongs to one event loop."""

    def __init__(self, *, most_of_an_owner: int = _MOST_OF_AN_OWNER, clock: Callable[[], float] = time.time) -> None:
        self._most_of_an_owner = most_of_an_owner
        self._clock = clock
        self._grants: dict[bytes, Grant] = {}

    def issue(self, owner: str, session: str, seconds: int) -> EphemeralKey:
        """A key for sessions in the name of `owner`, good for `seconds` and as often as wanted.

        Raises:
            Overloaded: `owner` has as many as may be.
        """
        self._forget_expired()
        if Counter(grant.owner for grant in self._grants.values())[owner] >= self._most_of_an_owner:
            expiries = (grant.expires_at for grant in self._grants.values() if grant.owner == owner)
            first = min(expiries, default=self._clock())
            told = f"There are {self._most_of_an_owner} ephemeral keys already. Try again when one has expired."
            raise Overloaded(told, retry_after=max(1.0, first - self._clock()))
        key = EphemeralKey(PREFIX + secrets.token_hex(24), int(self._clock()) + seconds)
        self._grants[_digest(key.value)] = Grant(owner, session, key.expires_at)
        return key

    def find(self, presented: str) -> Grant | None:
        """What a key stands for; None: it is none, or has expired."""
        grant = self._grants.get(_digest(presented))
        return grant if grant is not None and self._clock() < grant.expires_at else None

    def _forget_expired(self) -> None:
        now = self._clock()
        self._grants = {digest: grant for digest, grant in self._grants.items() if now < grant.expires_at}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
