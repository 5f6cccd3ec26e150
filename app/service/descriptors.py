"""File descriptors: every connection, file and decoder takes some, and the system allows so many."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

from app.settings import Settings

if sys.platform != "win32":
    import resource

_OF_A_REQUEST = 3
"""Its connection, its upload, the decoded sound while it is mapped."""
_OF_A_STREAM = 5
"""Its connection, and a decoder's three pipes and what starts it, where its sound is compressed."""
_OF_THE_SERVER = 128
"""Ports, databases, models, logs, decoders that wait."""
_MOST_WORTH_HAVING = 1 << 20
"""Some systems' limit has nine digits; who closes all descriptors in a child would take a minute over that."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Descriptors:
    """How many this process may have open, and how many its settings may come to need."""

    limit: int
    needed: int

    @property
    def connections(self) -> int:
        """How many of them connections may take, idle ones included: the others are for what is done for them."""
        return max(1, (self.limit - min(_OF_THE_SERVER, self.limit // 4)) // 2)

    @property
    def shortage(self) -> str:
        """What to tell an operator where they are too few; "" where they are enough."""
        if self.needed <= self.limit:
            return ""
        return (
            f"{self.limit} files may be open at once (ulimit -n), and MAX_REQUESTS and MAX_LIVE_STREAMS may come to "
            f"{self.needed}: raise the limit, or lower them"
        )


def descriptors_of(settings: Settings, *, raising: bool = False) -> Descriptors | None:
    """What this process may have: its soft limit is raised to the hard one, or could be. None where nobody knows."""
    if sys.platform == "win32":
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _worth_having(hard)
    if raising and _worth_having(soft) < limit:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (OSError, ValueError):  # macOS allows less than it says
            limit = _worth_having(soft)
    needed = _OF_THE_SERVER + _OF_A_REQUEST * settings.max_requests + _OF_A_STREAM * settings.max_live_streams
    return Descriptors(limit, needed)


def _worth_having(limit: int) -> int:
    return _MOST_WORTH_HAVING if limit == resource.RLIM_INFINITY else min(limit, _MOST_WORTH_HAVING)


def prepare(settings: Settings) -> int | None:
    """Have as many as there may be, and say so where they are too few; returns how many connections there may be."""
    found = descriptors_of(settings, raising=True)
    if found is None:
        return None
    if found.shortage:
        _logger.warning("%s", found.shortage)
    return found.connections
