"""How slow a transfer may be, whichever way its bytes come."""

from __future__ import annotations

GRACE_SECONDS = 60.0
LEAST_SPEED = 1024
"""Bytes a second that a transfer must keep up on average, after a while for bad starts: no network is slower, but
somebody who wants to hold places with drops is."""
