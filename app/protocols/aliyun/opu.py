"""Alibaba Cloud's own framing of Opus ("opu"), as its SDK for C++ sends it: a byte of length, then a packet of so many
bytes, and so on. It becomes Ogg (RFC 3533, RFC 7845), which every decoder reads."""

from __future__ import annotations

import struct
import zlib

from app.protocols.aliyun.wire import Status, TaskFailure

_RATE = 48_000
"""Hz of Opus' own clock, whatever was recorded."""
_PRE_SKIP = 312
"""Samples of delay of the usual encoder."""
_BEGIN, _MIDDLE = 2, 0
_MOST_SEGMENTS = 200


class OpuReader:
    """The stream as Ogg. One that is Ogg already is handed on as it is."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._pending = b""
        self._pages = 0
        self._position = 0
        self._is_ogg = False

    def take(self, data: bytes) -> bytes:
        """Pages of all packets that are whole now.

        Raises:
            TaskFailure: a packet without bytes: this is something else.
        """
        self._pending += data
        if not self._pages and not self._is_ogg:
            if b"OggS".startswith(self._pending[:4]) and len(self._pending) < 4:
                return b""
            self._is_ogg = self._pending.startswith(b"OggS")
        if self._is_ogg:
            data, self._pending = self._pending, b""
            return data
        pages = [] if self._pages else [self._beginning()]
        packets, most = self._packets(), _MOST_SEGMENTS // 2
        pages += [self._page(packets[first : first + most], _MIDDLE) for first in range(0, len(packets), most)]
        return b"".join(pages)

    def _packets(self) -> list[bytes]:
        packets: list[bytes] = []
        data, place = self._pending, 0
        while place < len(data) and place + data[place] < len(data):
            size = data[place]
            if not size:
                told = "This is not Opus as format=opu has it: a byte of length before each packet."
                raise TaskFailure(Status.UNSUPPORTED_FORMAT, told)
            packets.append(data[place + 1 : place + 1 + size])
            place += 1 + size
        self._pending = data[place:]
        return packets

    def _beginning(self) -> bytes:
        head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, _PRE_SKIP, self._rate, 0, 0)
        tags = struct.pack("<8sII", b"OpusTags", 0, 0)
        return self._page([head], _BEGIN) + self._page([tags], _MIDDLE)

    def _page(self, packets: list[bytes], kind: int) -> bytes:
        if self._pages > 1:
            self._position += sum(_samples(packet) for packet in packets)
        lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
        head = struct.pack("<4sBBqIII", b"OggS", 0, kind, self._position, 1, self._pages, 0)
        page = head + bytes([len(lacing)]) + lacing + b"".join(packets)
        self._pages += 1
        return page[:22] + struct.pack("<I", _checksum(page)) + page[26:]


def _samples(packet: bytes) -> int:
    """How long a packet is, in samples of 48 kHz (RFC 6716, 3.1)."""
    mode, count = packet[0] >> 3, packet[0] & 3
    if mode < 12:
        seconds = (0.01, 0.02, 0.04, 0.06)[mode & 3]
    elif mode < 16:
        seconds = (0.01, 0.02)[mode & 1]
    else:
        seconds = (0.0025, 0.005, 0.01, 0.02)[mode & 3]
    frames = (1, 2, 2, packet[1] & 63 if len(packet) > 1 else 0)[count]
    return round(frames * seconds * _RATE)


def _reflected(number: int, bits: int) -> int:
    return int(f"{number:0{bits}b}"[::-1], 2)


_REFLECTED = bytes(_reflected(value, 8) for value in range(256))
_ALL = 0xFFFFFFFF


def _checksum(page: bytes) -> int:
    """Ogg's: the CRC-32 that libraries have reads bits in the other order, and inverts them at both ends."""
    return _reflected(zlib.crc32(page.translate(_REFLECTED), _ALL) ^ _ALL, 32)
