"""What differs between the paths: the real service's ways, and those of funasr-api, whose clients are here, too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """One path's ways.

    `intermediate`, `punctuation` and `itn` are what a start that does not mention them means. `forgiving`: a message
    that makes no sense is answered and forgotten; elsewhere it ends the connection. `closes`: one task a connection.
    `near_field`: only voices at the microphone are heard, unless the server is set otherwise.
    `idle_seconds` without sound end a task.
    """

    intermediate: bool
    punctuation: bool
    itn: bool
    forgiving: bool
    closes: bool
    near_field: bool
    idle_seconds: float


CLOUD = Dialect(
    intermediate=False,
    punctuation=False,
    itn=False,
    forgiving=False,
    closes=False,
    near_field=False,
    idle_seconds=10.0,
)
"""As documented by Alibaba Cloud, whose SDKs keep a connection for several tasks."""
FUNASR_API = Dialect(
    intermediate=True,
    punctuation=True,
    itn=True,
    forgiving=True,
    closes=True,
    near_field=True,
    idle_seconds=60.0,
)
"""As funasr-api does it. Its clients may read until the connection is closed, and it had no limit on silence: those
that send speech only, detected on their side, pause for longer than ten seconds."""
