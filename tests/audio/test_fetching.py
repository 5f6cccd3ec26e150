"""Recordings that are fetched: what is asked, what arrives, and where redirects lead."""

from __future__ import annotations

import asyncio
import logging
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audio.fetching.asking import MAX_REDIRECTS
from app.audio.fetching.locations import MAX_CHARACTERS, LocationError, parse_location, port_of
from app.audio.storing import room_for_recording
from app.domain.errors import AddressNotFetched, EmptyAudio, EngineFailure, InvalidParameter
from app.service.leftovers import prepare

from .fetching import (
    NAME,
    PUBLIC,
    SOUND,
    Listener,
    Names,
    Roads,
    answering,
    fetch,
    fetcher,
    of_public,
    redirecting,
    run,
)

SECRET = "signature-7f3a"


def test_a_recording_is_fetched_byte_for_byte(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener().at() as server:
            assert await fetch(of_public(server), f"http://{NAME}/a b/ü.wav?x=1&y=%2F#part", tmp_path) == SOUND
            head = server.heads[0].decode().lower()
            assert head.startswith("get /a%20b/%c3%bc.wav?x=1&y=%2f http/1.1\r\n")
            assert f"\r\nhost: {NAME}\r\n" in head
            assert "\r\naccept-encoding: identity\r\n" in head

    run(scenario)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"],
    ids=["chunked", "until it closes"],
)
def test_bodies_without_a_length(tmp_path: Path, head: bytes) -> None:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chunks = [SOUND[start : start + 1000] for start in range(0, len(SOUND), 1000)]
        packed = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks] + [b"0\r\n\r\n"]
        writer.write(head + b"".join(packed if b"chunked" in head else chunks))
        await writer.drain()

    async def scenario() -> None:
        async with Listener(play).at() as server:
            assert await fetch(of_public(server), f"http://{NAME}/", tmp_path) == SOUND

    run(scenario)


def test_more_than_is_written_at_once(tmp_path: Path) -> None:
    sound = bytes(5_000_001)

    async def scenario() -> None:
        async with Listener(answering(sound)).at() as server:
            assert await fetch(of_public(server, max_bytes=len(sound)), f"http://{NAME}/", tmp_path) == sound

    run(scenario)


def test_nothing_of_the_environment_or_of_an_earlier_answer_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {NAME} login somebody password {SECRET}\n")
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def scenario() -> None:
        async with Listener(answering(SOUND, "200 OK", f"Set-Cookie: seen={SECRET}")).at() as server:
            source = of_public(server)
            with room_for_recording(folder) as room:
                await source.fetch(f"http://{NAME}/", room, param="audio_address")
            await fetch(source, f"http://{NAME}/", folder)
            names = {line.split(":")[0].lower() for line in server.heads[1].decode().splitlines()[1:] if line}
            assert names == {"host", "user-agent", "accept", "accept-encoding", "connection"}

    run(scenario)


def test_the_file_is_this_user_s_alone_and_named_as_leftovers_are(tmp_path: Path) -> None:
    with room_for_recording(tmp_path) as room:
        path = Path(room.name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert prepare(tmp_path, -60.0) == 0, "it is in use"
        killed = tmp_path / "killed"
        killed.mkdir()
        (killed / path.name).touch()
        assert prepare(killed, -60.0) == 1, "a killed server's would not be found"


def test_a_folder_that_is_not_there_is_the_machine_s_fault(tmp_path: Path) -> None:
    with pytest.raises(EngineFailure), room_for_recording(tmp_path / "missing"):
        pytest.fail("there is no such folder")


def test_a_full_disk_is_the_machine_s_fault() -> None:
    async def scenario() -> None:
        async with Listener().at() as server:
            source = of_public(server)
            full = await asyncio.to_thread(Path("/dev/full").open, "wb", buffering=0)
            try:
                with pytest.raises(EngineFailure) as caught:
                    await source.fetch(f"http://{NAME}/", full, param="audio_address")
                told = "The recording could not be stored: the server's disk is full. Try again later."
                assert caught.value.message == told
            finally:
                full.close()
                source.close()

    run(scenario)


@pytest.mark.parametrize(
    "said",
    [
        *(
            "",
            "recordings.example/a.wav",
            "file:///etc/passwd",
            "ftp://recordings.example/a",
            "data:audio/wav;base64,AA",
        ),
        *("http:///a.wav", "http:a.wav", "//recordings.example/a", "gopher://recordings.example/", "http://[::1/"),
        *("http://somebody@recordings.example/", "http://somebody:secret@recordings.example/", "http://:secret@h/"),
        *("http://recordings.example:0/", "http://recordings.example:65536/", "http://recordings.example:x/"),
        *("http://recordings.example/\r\nX: 1", "http://recordings.example/\0", "http://recordings.example/\x7f"),
        *("http://recordings.example/\x85", "http://recordings.example/\ud800", "http://re\ud800.example/"),
        "http://recordings.example/" + "a" * MAX_CHARACTERS,
    ],
)
def test_what_is_no_address_is_said_so_and_nobody_is_asked(tmp_path: Path, said: str) -> None:
    async def scenario() -> None:
        names, roads = Names(**{NAME: [[PUBLIC]]}), Roads()
        with pytest.raises(InvalidParameter, match=r"^audio_address ") as caught:
            await fetch(fetcher(resolver=names, dialer=roads), said, tmp_path)
        assert caught.value.param == "audio_address"
        assert (names.asked, roads.dialled) == ([], [])
        assert "secret" not in caught.value.message

    run(scenario)


@given(st.text(max_size=40), st.sampled_from(["http://", "https://", "http://h/", "http://[", "http://h:", ""]))
def test_whatever_is_said_is_an_address_or_none(said: str, before: str) -> None:
    with suppress(LocationError):
        url = parse_location(before + said)
        assert url.scheme in {"http", "https"}
        assert url.raw_host.isascii()
        assert 0 < port_of(url) < 65536
        assert not url.userinfo


@pytest.mark.parametrize("status", ["206 Partial", "204 No Content", "304 No", "401 No", "404 Not Found", "500 Oops"])
def test_other_answers_are_named_and_not_repeated(tmp_path: Path, status: str) -> None:
    async def scenario() -> None:
        answer = answering(b"" if status[:3] in {"204", "304"} else SECRET.encode(), status, f"X-Why: {SECRET}")
        async with Listener(answer).at() as server:
            with pytest.raises(AddressNotFetched) as caught:
                await fetch(of_public(server), f"http://{NAME}/", tmp_path)
            assert caught.value.message == f"The recording's server answered {status[:3]}."
            assert caught.value.passing == status.startswith("500")
            assert caught.value.param == "audio_address"

    run(scenario)


def test_an_empty_recording_is_said_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener(answering(b"")).at() as server:
            with pytest.raises(EmptyAudio) as caught:
                await fetch(of_public(server), f"http://{NAME}/", tmp_path)
            assert caught.value.param == "audio_address"

    run(scenario)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_redirects_are_followed(tmp_path: Path, status: str) -> None:
    async def scenario() -> None:
        server = Listener()

        async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server.play = answering()
            await answering(b"moved", status, "Location: ../ü.wav?y=1")(reader, writer)

        server.play = play
        async with server.at():
            assert await fetch(of_public(server), f"http://{NAME}/x/y/a.wav", tmp_path) == SOUND
            assert server.heads[1].startswith(b"GET /x/%C3%BC.wav?y=1 ")

    run(scenario)


@pytest.mark.parametrize(("redirects", "arrives"), [(MAX_REDIRECTS, True), (MAX_REDIRECTS + 1, False), (100, False)])
def test_so_many_redirects_and_no_more(tmp_path: Path, redirects: int, arrives: bool) -> None:
    async def scenario() -> None:
        server = Listener()

        async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answer = redirecting(f"/{server.connections}") if server.connections <= redirects else answering()
            await answer(reader, writer)

        server.play = play
        async with server.at():
            if arrives:
                assert await fetch(of_public(server), f"http://{NAME}/", tmp_path) == SOUND
            else:
                with pytest.raises(AddressNotFetched, match="too often"):
                    await fetch(of_public(server), f"http://{NAME}/", tmp_path)
            assert server.connections == MAX_REDIRECTS + 1

    run(scenario)


def test_a_redirect_to_itself_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener(redirecting(f"http://{NAME}/")).at() as server:
            with pytest.raises(AddressNotFetched, match="too often"):
                await fetch(of_public(server), f"http://{NAME}/", tmp_path)

    run(scenario)


def test_the_log_has_the_host_and_nothing_else_of_the_address(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        url = f"http://{NAME}/private/{SECRET}?token={SECRET}"
        async with Listener().at() as server:
            await fetch(of_public(server), url, tmp_path)
            server.play = redirecting(f"/{SECRET}")
            with pytest.raises(AddressNotFetched) as caught:
                await fetch(of_public(server), url, tmp_path)
            assert NAME not in caught.value.message
        with pytest.raises(AddressNotFetched):
            await fetch(fetcher(resolver=Names()), url, tmp_path)

    run(scenario)
    assert caplog.text.count(NAME) == 3
    assert SECRET not in caplog.text
