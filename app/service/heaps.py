"""What was freed is given back to the system: glibc keeps what a burst of requests took, if it is not asked."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from contextlib import suppress

GIVE_BACK_SECONDS = 10.0
"""Often enough that a burst is soon forgotten; what is taken anew afterwards is paid for once in that time."""


async def give_back() -> None:
    """Do so from time to time, for ever; where the system's allocator has no such call, return at once."""
    trim = trimming()
    while trim is not None:
        await asyncio.sleep(GIVE_BACK_SECONDS)
        await asyncio.to_thread(trim, 0)


def trimming() -> Callable[[int], int] | None:
    """glibc's malloc_trim(3), which gives back whole pages of all heaps that hold nothing, but for so many bytes at the
    end of the first; None: there is none here."""
    with suppress(AttributeError, OSError, TypeError):
        trim = ctypes.CDLL(None).malloc_trim
        trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
        return trim
    return None
