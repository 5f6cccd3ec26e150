"""More requests than can be served: `python -m benchmarks.overload`.

First the capacity, by a few clients that ask again at once, while another asks whether the server lives; then four
times as many requests a second as that, each on a connection of its own, whatever becomes of the others. What is
served then (goodput) is counted after a warm-up of as long as a request may wait.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.modelstore.catalog import PHONE_CALL
from app.modelstore.store import ModelStore
from app.settings import Settings, available_cores
from benchmarks import audio, report
from benchmarks.measures import percentile
from benchmarks.progress import note
from benchmarks.server import Server

_TIMES = 4
_WAIT_SECONDS = 5.0
"""MAX_WAIT_SECONDS of the server under test: a queue that is full soon."""
_GOODPUT, _REFUSAL_SECONDS, _LIVE_SECONDS = 0.9, 0.1, 0.05
_CLIP = 17.8, 20.2
"""Seconds of the phone call that every request sends."""
_PROBE_PAUSE = 0.01
_BOUNDARY = "xXxXx"


@dataclass(frozen=True, slots=True)
class Outcome:
    """When a request was over, its status (0: no answer), and seconds from connecting to the status line."""

    at: float
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Requests a second at capacity and above it, seconds of single answers."""

    capacity: float
    goodput: float
    sent: int
    live: Sequence[float]
    refused: Sequence[float]
    served: Sequence[float]
    others: int


def main() -> int:
    """Print the table; 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each part (default 30)")
    parser.add_argument("--probes", type=int, default=1000, help="of /health/live (default 1000)")
    given = parser.parse_args()
    report.RESULTS.mkdir(exist_ok=True)
    request = prepared(ModelStore(Settings()).ensure(PHONE_CALL.id))
    with Server(report.RESULTS / "overload.log", MAX_WAIT_SECONDS=str(_WAIT_SECONDS)) as server:
        port = int(server.url.rpartition(":")[2])
        measured = asyncio.run(measure(port, request, given.seconds, given.probes))
    return shown(measured)


def prepared(phone_call: Path) -> bytes:
    """The bytes of one whole request."""
    clip = phone_call.parent / "overload-clip.wav"
    sound = audio.read(phone_call / "sample.wav")
    audio.write(clip, sound[round(_CLIP[0] * 16_000) : round(_CLIP[1] * 16_000)])
    part = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="'
    body = f'{part}language"\r\n\r\nen\r\n{part}response_format"\r\n\r\njson\r\n'.encode()
    body += f'{part}file"; filename="a.wav"\r\n\r\n'.encode() + clip.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode()
    clip.unlink()
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: server\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def measure(port: int, request: bytes, seconds: float, probes: int) -> Measured:
    """Both parts, one after the other."""
    note("capacity ...")
    done: list[Outcome] = []
    live: list[float] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        while time.perf_counter() < end:
            done.append(await ask(port, request))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(2 * available_cores() + 2)), probe(port, probes, live))
    capacity = sum(each.status == 200 and each.at <= end for each in done) / (end - began)
    note(f"{_TIMES} times as many ...")
    flood: list[asyncio.Task[Outcome]] = []
    length = seconds + _WAIT_SECONDS + 3.0
    began = time.perf_counter()
    while (elapsed := time.perf_counter() - began) < length:
        while len(flood) < elapsed * capacity * _TIMES:
            flood.append(asyncio.create_task(ask(port, request)))
        await asyncio.sleep(0.005)
    stop = time.perf_counter()
    outcomes = await asyncio.gather(*flood)
    start = stop - seconds
    good = sum(each.status == 200 and start <= each.at <= stop for each in outcomes)
    return Measured(
        capacity=capacity,
        goodput=good / seconds,
        sent=len(outcomes),
        live=live,
        refused=[each.seconds for each in outcomes if each.status == 429],
        served=[each.seconds for each in outcomes if each.status == 200],
        others=sum(each.status not in {200, 429} for each in outcomes),
    )


async def ask(port: int, request: bytes) -> Outcome:
    """One request on a connection of its own."""
    began = time.perf_counter()
    status, answered = 0, began
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            status = int((await reader.readline()).split()[1])
            answered = time.perf_counter()
            async with asyncio.timeout(10):
                await reader.read()
        finally:
            writer.close()
    except (OSError, IndexError, TimeoutError):
        answered = max(answered, began)
    return Outcome(time.perf_counter(), status, answered - began)


async def probe(port: int, count: int, live: list[float]) -> None:
    """Ask whether it lives, so many times."""
    for _ in range(count):
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n")
        if not (await reader.read()).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("the server says it does not live")
        writer.close()
        live.append(time.perf_counter() - began)
        await asyncio.sleep(_PROBE_PAUSE)


def shown(measured: Measured) -> int:
    """Print it; 1 when a bound is missed."""
    ratio = measured.goodput / measured.capacity
    refusal, live = percentile(measured.refused, 0.99), percentile(measured.live, 0.99)
    rows = (
        ("capacity", f"{measured.capacity:.2f} requests/s", ""),
        (f"goodput at {_TIMES} times that", f"{measured.goodput:.2f} requests/s ({ratio:.0%})", f">= {_GOODPUT:.0%}"),
        ("refused", f"{len(measured.refused)} of {measured.sent}", ""),
        ("refusal p50", f"{1000 * percentile(measured.refused, 0.5):.1f} ms", ""),
        ("refusal p99", f"{1000 * refusal:.1f} ms", f"<= {1000 * _REFUSAL_SECONDS:.0f} ms"),
        ("served p50", f"{percentile(measured.served, 0.5):.2f} s", ""),
        ("served p95", f"{percentile(measured.served, 0.95):.2f} s", ""),
        ("neither served nor refused", str(measured.others), "0"),
        ("live, all cores busy, p50", f"{1000 * percentile(measured.live, 0.5):.1f} ms", ""),
        ("live, all cores busy, p99", f"{1000 * live:.1f} ms", f"<= {1000 * _LIVE_SECONDS:.0f} ms"),
    )
    print(report.Table("Overload", ("", "measured", "bound"), rows).text())
    met = ratio >= _GOODPUT and refusal <= _REFUSAL_SECONDS and live <= _LIVE_SECONDS and not measured.others
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
