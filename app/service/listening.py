"""Ports: listening at every address a host stands for, and stopping without losing who has already got through.

Closing a listening socket resets the connections that the kernel holds for it. Where the system can (Linux), those
who come late are kept out by a filter on the socket first: their attempt is repeated by their kernel a second later,
and refused. Who was let in before is served, and only then is the socket closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import select
import socket
import sys
from collections.abc import Generator, Iterable
from typing import Any

from app.domain.errors import PortUnavailable

BACKLOG = 2048
"""Connections that wait to be accepted (uvicorn's figure)."""
_PASSIVE = socket.AI_PASSIVE
_NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_QUIET_SECONDS = 0.3
"""Nobody waits to be accepted for so long: the handshakes that had begun are over, from far away, too."""
_LONGEST_SECONDS = 3.0
_LOOK_SECONDS = 0.02
_SO_ATTACH_FILTER = 26
_FILTER = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
"""Classic BPF: of a TCP segment's flags (its 14th byte), SYN without ACK is dropped, and everything else is let in."""


@contextlib.contextmanager
def listening(host: str, port: int, setting: str, host_setting: str) -> Generator[list[socket.socket]]:
    """Listening sockets at every address the host stands for ("localhost" has two), closed at the end.

    Raises:
        PortUnavailable: the port is taken, or the host is none; told by the settings' names.
    """
    with contextlib.ExitStack() as stack:
        found: list[socket.socket] = []
        failure: OSError | None = None
        try:
            addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=_PASSIVE)
        except (OSError, ValueError) as error:  # not every text can be looked up
            why = (error.strerror if isinstance(error, OSError) else None) or "it cannot be a name"
            raise PortUnavailable(f"{host_setting}={host} is no address: {why}.") from error
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            try:
                listener = stack.enter_context(socket.socket(family, kind, protocol))
                _listen(listener, address)
                found.append(listener)
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise PortUnavailable(_told(f"{setting}={port}", f"{host_setting}={host}", error)) from error
                failure = error  # a machine without IPv6 has names with IPv6 addresses
        if not found:
            raise PortUnavailable(_told(f"{setting}={port}", f"{host_setting}={host}", failure)) from failure
        yield found


def _listen(listener: socket.socket, address: tuple[Any, ...]) -> None:
    if os.name == "posix":  # elsewhere it would let two programs have the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.setblocking(False)
    listener.bind(address)
    listener.listen(BACKLOG)  # at once: of two programs that only bound it, both would think it theirs


def _told(port: str, host: str, error: OSError | None) -> str:
    code = error.errno if error else None
    if code == errno.EADDRINUSE:
        return f"{port}: another program listens on this port. Stop it, or set another port."
    if code == errno.EACCES:
        return f"{port}: this user may not listen on this port. From 1024 up, every user may."
    if code in _NO_SUCH_ADDRESS:
        return f"{host} is no address of this machine."
    return f"{port}: the port cannot be listened on: {error}."


async def let_in_who_waits(listeners: Iterable[socket.socket]) -> None:
    """Keep newcomers out, and return once everybody who had got through is accepted by those who serve `listeners`,
    which are to be closed then. Where the system cannot keep newcomers out, it returns when nobody waits."""
    everybody = list(listeners)
    shut_out = list(map(_shut_out, everybody))
    quiet = _QUIET_SECONDS if all(shut_out) else 0.0
    now = asyncio.get_running_loop().time
    since, last = now(), now() + _LONGEST_SECONDS
    while now() < last:
        if _somebody_waits(everybody):
            since = now()
        elif now() - since >= quiet:
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _shut_out(listener: socket.socket) -> bool:
    if sys.platform != "linux":
        return _crowd_out(listener)
    steps = (_Step * len(_FILTER))(*(_Step(*step) for step in _FILTER))
    program = _Program(len(_FILTER), ctypes.cast(steps, ctypes.POINTER(_Step)))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
    except OSError:  # a sandbox's kernel may have no filters
        return _crowd_out(listener)
    return True


def _crowd_out(listener: socket.socket) -> bool:
    """Next best: there is room for one who waits. False: somebody may get through until the very end."""
    with contextlib.suppress(OSError):
        listener.listen(1)  # some systems take 0 for the longest queue they have
    return False


def _somebody_waits(listeners: list[socket.socket]) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select(listeners, [], [], 0)[0])
    poll = select.poll()  # and not select, which knows no descriptors from 1024 up
    for listener in listeners:
        poll.register(listener, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll(0))


class _Step(ctypes.Structure):
    """struct sock_filter."""

    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.POINTER(_Step)))
