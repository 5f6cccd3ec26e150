"""What a server may do to whoever fetches from it: send too much, too slowly, something else, or nothing."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.audio.fetching import asking, resolving
from app.audio.fetching.addresses import Address
from app.audio.fetching.failures import NOT_FETCHED
from app.audio.fetching.resolving import SystemResolver, UnresolvedError
from app.audio.storing import room_for_recording
from app.domain.errors import AddressNotFetched, EmptyAudio, Overloaded, UploadTooLarge

from .fetching import NAME, SOUND, Listener, Play, answering, dripping, fetch, fetcher, of_public, run, silent

URL = f"http://{NAME}/a.wav"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n"


def refused(tmp_path: Path, play: Play, error: type[Exception], **limits: float) -> str:
    """What is said of a server that plays so; its connection must have been closed."""
    told: list[str] = []

    async def scenario() -> None:
        async with Listener(play).at() as server:
            with pytest.raises(error) as caught:
                await fetch(of_public(server, **limits), URL, tmp_path)
            async with asyncio.timeout(5):
                await server.gone.wait()
            assert server.connections == 1
            told.append(str(caught.value))
            assert getattr(caught.value, "param", None) == "audio_address"

    run(scenario)
    return told[0]


@pytest.mark.parametrize(
    "play",
    [
        dripping(ENDLESS, bytes(65_536)),
        dripping(CHUNKED, b"1000\r\n" + bytes(4096) + b"\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", bytes(65_536)),
        silent(b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n"),
        answering(bytes(1_000_001)),
    ],
    ids=["endless", "endless chunks", "announced and sent", "announced and not sent", "a byte too many"],
)
def test_more_bytes_than_are_taken(tmp_path: Path, play: Play) -> None:
    assert "1000000 bytes, MAX_AUDIO_SIZE" in refused(tmp_path, play, UploadTooLarge)


def test_as_many_bytes_as_are_taken(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener(answering(bytes(1_000_000))).at() as server:
            assert len(await fetch(of_public(server), URL, tmp_path)) == 1_000_000

    run(scenario)


def test_too_many_bytes_never_reach_the_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener(dripping(ENDLESS, bytes(65_536))).at() as server:
            source = of_public(server, max_bytes=3_000_000)
            with room_for_recording(tmp_path) as room:
                with pytest.raises(UploadTooLarge):
                    await source.fetch(URL, room, param="audio_address")
                assert await asyncio.to_thread(lambda: Path(room.name).stat().st_size) <= 3_000_000
            source.close()

    run(scenario)


@pytest.mark.parametrize("length", [len(SOUND) + 1, 900_000])
def test_a_body_shorter_than_it_says_is_no_recording(tmp_path: Path, length: int) -> None:
    assert "broke off" in refused(tmp_path, answering(length=length), AddressNotFetched)


def test_chunks_without_an_end_are_no_recording(tmp_path: Path) -> None:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"4\r\nRIFF\r\n")

    assert "broke off" in refused(tmp_path, play, AddressNotFetched)


def test_what_follows_the_length_that_was_said_is_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener(answering(SOUND + b"more", length=len(SOUND))).at() as server:
            assert await fetch(of_public(server), URL, tmp_path) == SOUND

    run(scenario)


@pytest.mark.parametrize("length", ["-1", "1e3", "12, 13", "9" * 30, "0x10"])
def test_lengths_that_are_none(tmp_path: Path, length: str) -> None:
    play = silent(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
    assert refused(tmp_path, play, AddressNotFetched) == NOT_FETCHED


@pytest.mark.parametrize("head", [ENDLESS, CHUNKED, LONG], ids=["endless", "chunked", "length"])
def test_silence_ends(tmp_path: Path, head: bytes) -> None:
    told = refused(tmp_path, silent(head), AddressNotFetched, idle_seconds=0.2)
    assert told == "Nothing of the recording arrived for 0.2 s."


def test_bytes_that_are_no_sound_do_not_break_silence(tmp_path: Path) -> None:
    told = refused(tmp_path, dripping(CHUNKED + b"4;", b"x", 0.05), AddressNotFetched, idle_seconds=0.3)
    assert told == "Nothing of the recording arrived for 0.3 s."


def test_drops_are_too_slow_after_a_while(tmp_path: Path) -> None:
    told = refused(tmp_path, dripping(LONG, b"x" * 20, 0.05), AddressNotFetched, grace_seconds=0.3)
    assert told == "The recording's server is slower than 1024 bytes a second."


def test_the_whole_has_its_time(tmp_path: Path) -> None:
    began = time.monotonic()
    told = refused(tmp_path, dripping(LONG, b"x" * 2000, 0.05), AddressNotFetched, seconds=0.5)
    assert told == "The recording was not there after 0.5 s (AUDIO_ADDRESS_SECONDS)."
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "play",
    [
        silent(),
        silent(b"HTTP/1.1 200 OK\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nX-A: ", b"x", 0.05),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    ],
    ids=["nothing", "half a head", "a slow header", "continue, continue"],
)
@pytest.mark.parametrize("limit", ["answer", "whole"])
def test_an_answer_that_does_not_come_is_an_address_that_cannot_be_had(
    tmp_path: Path, play: Play, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RESOLVE_SECONDS", "CONNECT_SECONDS"):
        monkeypatch.setattr(asking, name, 0.1)
    limits = {"idle_seconds": 0.2} if limit == "answer" else {"seconds": 0.3}
    assert refused(tmp_path, play, AddressNotFetched, **limits) == NOT_FETCHED


@pytest.mark.parametrize(
    "play",
    [
        dripping(b"HTTP/1.1 200 OK\r\nX-A: ", b"x" * 10_000),
        dripping(b"HTTP/1.1 200 OK\r\n", b"X-A: x\r\n" * 1000),
        dripping(b"HTTP/1.1 200 " + b"x" * 100, b"x" * 10_000),
        silent(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        silent(b"\x15\x03\x01\x00\x02\x02\x46"),
        silent(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        silent(b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"),
    ],
    ids=["a header", "headers", "a reason", "ssh", "tls", "a transfer encoding", "a control character"],
)
def test_heads_without_end_and_without_sense(tmp_path: Path, play: Play) -> None:
    began = time.monotonic()
    assert refused(tmp_path, play, AddressNotFetched) == NOT_FETCHED
    assert time.monotonic() - began < 5, "it was waited for, not refused"


@pytest.mark.parametrize("name", ["gzip", "GZIP", "br", "deflate", "identity, gzip"])
def test_what_is_packed_is_not_unpacked(tmp_path: Path, name: str) -> None:
    play = answering(gzip.compress(bytes(10_000_000)), "200 OK", f"content-encoding: {name}")
    assert "compressed" in refused(tmp_path, play, AddressNotFetched)


def test_a_packed_file_is_a_file(tmp_path: Path) -> None:
    packed = gzip.compress(SOUND)

    async def scenario() -> None:
        async with Listener(answering(packed, "200 OK", "Content-Encoding: identity")).at() as server:
            assert await fetch(of_public(server), URL, tmp_path) == packed

    run(scenario)


def test_chunks_without_bytes_are_an_empty_recording(tmp_path: Path) -> None:
    assert refused(tmp_path, silent(CHUNKED + b"0\r\n\r\n"), EmptyAudio)


def test_a_thousand_tiny_chunks_hold_nobody_else_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with Listener(silent(CHUNKED + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n")).at() as server:
            other = asyncio.create_task(count())
            try:
                assert await fetch(of_public(server), URL, tmp_path) == b"x" * 5000
            finally:
                other.cancel()
        assert turns >= 5000

    run(scenario)


def test_whoever_asked_may_leave(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener(dripping(LONG, b"x" * 1000, 0.01)).at() as server:
            asked = asyncio.create_task(fetch(of_public(server), URL, tmp_path))
            async with asyncio.timeout(10):
                await server.asked.wait()
                asked.cancel()
                await server.gone.wait()
            with pytest.raises(asyncio.CancelledError):
                await asked

    run(scenario)


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "RESOLVE_SECONDS", 0.1)
    monkeypatch.setattr(resolving, "_look_up", lambda _: time.sleep(0.5))

    async def scenario() -> None:
        resolver = SystemResolver()
        lag = 0.0
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(UnresolvedError):
                await resolver.resolve("slow.example", "")
            lag = max(lag, time.monotonic() - began)
        resolver.close()
        assert lag < 0.4

    run(scenario)


def _held_up(may_end: threading.Event, host: str) -> list[Address]:
    assert may_end.wait(20)
    raise OSError(host)


def test_slow_names_hold_up_their_own_key_alone_and_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()
    usual = resolving._look_up
    monkeypatch.setattr(
        resolving, "_look_up", lambda host: _held_up(may_end, host) if host.endswith(".example") else usual(host)
    )
    monkeypatch.setattr(resolving, "QUEUE_SECONDS", 0.1)

    async def scenario() -> None:
        resolver = SystemResolver()
        slow = [asyncio.create_task(resolver.resolve(f"{number}.example", "slow")) for number in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await resolver.resolve("localhost", "slow")
        assert caught.value.retry_after >= 1
        assert [str(address) for address in await resolver.resolve("127.0.0.1", "slow")] == ["127.0.0.1"]
        assert await resolver.resolve("localhost", "other")
        slow[0].cancel()  # whoever asked leaves; the thread goes on, and its place is still taken
        with pytest.raises(Overloaded):
            await resolver.resolve("localhost", "slow")
        may_end.set()
        ended = await asyncio.gather(*slow, return_exceptions=True)
        assert [type(one) for one in ended] == [asyncio.CancelledError, *[UnresolvedError] * 3]
        assert await resolver.resolve("localhost", "slow")
        resolver.close()

    run(scenario)


def test_a_full_queue_is_no_fault_of_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    may_end = threading.Event()
    monkeypatch.setattr(resolving, "_look_up", partial(_held_up, may_end))
    monkeypatch.setattr(resolving, "QUEUE_SECONDS", 0.1)

    async def scenario() -> None:
        source = fetcher()
        with room_for_recording(tmp_path) as room:
            asked = [
                asyncio.create_task(source.fetch("http://slow.example/", room, param="x", key="one")) for _ in range(5)
            ]
            done, waiting = await asyncio.wait(asked, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert [type(one.exception()) for one in done] == [Overloaded]
            may_end.set()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(one) for one in ended] == [AddressNotFetched] * 4
        source.close()

    run(scenario)


@pytest.mark.parametrize(
    ("play", "free"),
    [(silent(LONG), 899_999), (dripping(ENDLESS, bytes(65_536)), 2_500_000)],
    ids=["by what is announced", "as it arrives"],
)
def test_a_disk_that_is_nearly_full_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, play: Play, free: int, caplog: pytest.LogCaptureFixture
) -> None:
    kept = 64 * 1024 * 1024

    def disk_usage(folder: Path) -> SimpleNamespace:
        assert folder == tmp_path
        written = sum(path.stat().st_size for path in tmp_path.iterdir())
        assert written <= free
        return SimpleNamespace(free=kept + free - written)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)

    async def scenario() -> None:
        async with Listener(play).at() as server:
            with pytest.raises(Overloaded, match="no room") as caught:
                await fetch(of_public(server, max_bytes=10**8), URL, tmp_path)
            assert caught.value.retry_after >= 1

    run(scenario)
    assert "nearly full" in caplog.text


@pytest.mark.parametrize("name", ["no.such.name.invalid", "a" * 70, "a..b", "", "%00", "x y"])
def test_names_that_cannot_be_resolved(name: str) -> None:
    async def scenario() -> None:
        resolver = SystemResolver()
        with pytest.raises(UnresolvedError):
            await resolver.resolve(name or "..", "")
        resolver.close()

    run(scenario)


def test_the_system_knows_this_machine() -> None:
    async def scenario() -> None:
        resolver = SystemResolver()
        assert [str(address) for address in await resolver.resolve("127.1", "")] == ["127.0.0.1"]
        assert [str(address) for address in await resolver.resolve("fe80::1%1", "")] == ["fe80::1%1"]
        resolver.close()

    run(scenario)
