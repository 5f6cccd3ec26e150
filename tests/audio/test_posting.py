"""Things that are sent to addresses: what arrives, what is made of answers, and where nothing is ever sent."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Collection
from ipaddress import ip_network

import pytest
import trustme

from app.audio.fetching.failures import FetchError
from app.audio.fetching.posting import Answer, Poster
from app.audio.fetching.resolving import SystemResolver

from .fetching import NAME, PUBLIC, Listener, Names, Play, Roads, answering, dripping, redirecting, run, silent
from .test_fetching_forbidden import LOOPBACK, PRIVATE
from .test_fetching_tls import serving, trusting

BODY = '{"type":"job.succeeded","said":"电影"}'.encode()
HEADERS = {"Content-Type": "application/json", "webhook-id": "notice_1"}
HERE = "127.0.0.1/32"
SECRET = "signature-7f3a"


def poster(
    networks: Collection[str] = (),
    *,
    seconds: float = 10.0,
    resolver: Names | SystemResolver | None = None,
    dialer: Roads | None = None,
    tls: ssl.SSLContext | None = None,
) -> Poster:
    return Poster(
        networks=[ip_network(network) for network in networks],
        seconds=seconds,
        resolver=resolver,
        dialer=dialer,
        tls=tls,
    )


def of_public(listener: Listener, *, seconds: float = 10.0, tls: ssl.SSLContext | None = None) -> Poster:
    """A poster for whom `listener` is a server of the public internet, called NAME."""
    return poster(resolver=Names(**{NAME: [[PUBLIC]]}), dialer=Roads.to(listener), seconds=seconds, tls=tls)


async def send(source: Poster, url: str, body: bytes = BODY) -> Answer:
    try:
        return await source.post(url, body, HEADERS)
    finally:
        source.close()


def taking(play: Play, bodies: list[bytes], length: int = len(BODY)) -> Play:
    """Takes a body of that length in, and then plays."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await reader.readexactly(length))
        await play(reader, writer)

    return take


def test_what_is_sent_arrives_byte_for_byte_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    bodies: list[bytes] = []

    async def scenario() -> None:
        play = taking(answering(b"thanks", "200 OK", f"Set-Cookie: seen={SECRET}"), bodies)
        async with Listener(play).at() as server:
            for _ in range(2):
                assert await send(of_public(server), f"http://{NAME}/hooks/ü?x=%2F") == Answer(200)
            assert bodies == [BODY, BODY]
            lines = server.heads[1].decode().lower().splitlines()
            assert lines[0] == "post /hooks/%c3%bc?x=%2f http/1.1"
            names = [line.split(":")[0] for line in lines[1:] if line]
            assert sorted(names) == sorted(
                [
                    *("host", "user-agent", "accept", "accept-encoding", "connection"),
                    *("content-length", "content-type", "webhook-id"),
                ]
            )
            assert f"host: {NAME}" in lines
            assert f"content-length: {len(BODY)}" in lines
            assert "webhook-id: notice_1" in lines

    run(scenario)


def test_a_large_body_arrives_whole() -> None:
    body, bodies = bytes(range(256)) * 20_000, list[bytes]()

    async def scenario() -> None:
        async with Listener(taking(answering(b""), bodies, len(body))).at() as server:
            assert (await send(of_public(server), f"http://{NAME}/", body)).status == 200
            assert bodies == [body]

    run(scenario)


@pytest.mark.parametrize("status", ["200 OK", "202 Accepted", "204 No", "299 Yes", "404 No", "410 Gone", "500 Oops"])
def test_every_answer_is_an_answer(status: str) -> None:
    async def scenario() -> None:
        play = taking(answering(b"" if status[:3] == "204" else b"well", status), [])
        async with Listener(play).at() as server:
            assert (await send(of_public(server), f"http://{NAME}/")).status == int(status[:3])
            assert server.connections == 1

    run(scenario)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_redirects_are_answers_and_nobody_goes_where_they_lead(status: str) -> None:
    async def scenario() -> None:
        async with Listener().at() as other:
            there = f"http://127.0.0.1:{other.port}/"
            async with Listener(answering(b"moved", status, f"Location: {there}")).at() as server:
                answer = await send(poster([HERE]), f"http://127.0.0.1:{server.port}/")
                assert answer.status == int(status[:3])
            assert (server.connections, other.connections) == (1, 0)

    run(scenario)


@pytest.mark.parametrize(
    ("said", "meant"),
    [("120", 120.0), (" 0 ", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-5", None), ("1e9", None), ("²", None)],
)
def test_when_to_come_again_is_read_where_it_is_in_seconds(said: str, meant: float | None) -> None:
    async def scenario() -> None:
        async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(len(BODY))
            head = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: " + said.encode("latin-1")
            writer.write(head + b"\r\n\r\n")

        async with Listener(play).at() as server:
            assert await send(of_public(server), f"http://{NAME}/") == Answer(503, meant)

    run(scenario)


def test_who_refuses_before_it_has_taken_all_in_has_answered() -> None:
    async def scenario() -> None:
        async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answering(b"too much", "413 Too Large")(reader, writer)
            await reader.read()

        async with Listener(play).at() as server:
            assert (await send(of_public(server), f"http://{NAME}/", bytes(30_000_000))).status == 413

    run(scenario)


@pytest.mark.parametrize(
    "play",
    [
        dripping(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65_536)),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", bytes(65_536)),
        answering(b"half", "200 OK", length=1000),
        answering(b"\x1f\x8bpacked", "200 OK", "Content-Encoding: gzip"),
    ],
    ids=["endless", "announced", "broken off", "packed"],
)
def test_whatever_a_receiver_adds_it_has_answered(play: Play) -> None:
    began = time.monotonic()

    async def scenario() -> None:
        async with Listener(taking(play, [])).at() as server:
            assert (await send(of_public(server, seconds=60.0), f"http://{NAME}/")).status == 200
            async with asyncio.timeout(5):
                await server.gone.wait()

    run(scenario)
    assert time.monotonic() - began < 30


def test_a_receiver_whose_words_do_not_end_has_answered_all_the_same() -> None:
    async def scenario() -> None:
        play = taking(silent(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), [])
        async with Listener(play).at() as server:
            assert (await send(of_public(server, seconds=1.0), f"http://{NAME}/")).status == 200

    run(scenario)


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
def test_no_answer_in_time_is_none(play: Play) -> None:
    async def scenario() -> None:
        async with Listener(play).at() as server:
            with pytest.raises(FetchError, match="no answer in time"):
                await send(of_public(server, seconds=0.3), f"http://{NAME}/")
            async with asyncio.timeout(5):
                await server.gone.wait()

    run(scenario)


def test_a_receiver_that_takes_nothing_in_is_left_in_time() -> None:
    async def scenario() -> None:
        stay = asyncio.Event()

        async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await stay.wait()

        async with Listener(play).at() as server:
            with pytest.raises(FetchError, match="no answer in time"):
                await send(of_public(server, seconds=0.5), f"http://{NAME}/", bytes(30_000_000))
            stay.set()

    run(scenario)


@pytest.mark.parametrize(
    "play",
    [
        answering(length=-1),
        silent(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nX-A: ", b"x" * 10_000),
    ],
    ids=["a length that is none", "ssh", "a header without end"],
)
def test_what_is_no_answer_is_none(play: Play) -> None:
    async def scenario() -> None:
        async with Listener(play).at() as server:
            with pytest.raises(FetchError, match="no connection or no answer"):
                await send(of_public(server), f"http://{NAME}/")

    run(scenario)


@pytest.mark.parametrize("host", LOOPBACK)
def test_nothing_is_sent_to_any_spelling_of_this_machine(host: str) -> None:
    async def scenario() -> None:
        async with Listener().at("127.0.0.1") as four, Listener().at("::1") as six:
            for listener in (four, six):
                with pytest.raises(FetchError):
                    await send(poster(), f"http://{host}:{listener.port}/")
            assert (four.connections, six.connections) == (0, 0)

    run(scenario)


@pytest.mark.parametrize("address", PRIVATE)
def test_nobody_dials_a_forbidden_address_whatever_its_name(address: str) -> None:
    async def scenario() -> None:
        roads = Roads()
        for answer in ([address], [PUBLIC, address]):
            source = poster(resolver=Names(**{NAME: [answer]}), dialer=roads)
            with pytest.raises(FetchError, match="must not be reached"):
                await send(source, f"http://{NAME}/latest/meta-data/")
        assert roads.dialled == []

    run(scenario)


def test_a_name_is_asked_once_each_time_and_its_answer_is_where_it_goes() -> None:
    async def scenario() -> None:
        async with Listener(taking(answering(), [])).at() as public, Listener().at("127.0.0.2") as forbidden:
            names, roads = Names(**{NAME: [[PUBLIC], ["127.0.0.2"]]}), Roads.to(public)
            source = poster(resolver=names, dialer=roads)
            url = f"http://{NAME}:{forbidden.port}/"
            assert (await source.post(url, BODY, HEADERS)).status == 200
            with pytest.raises(FetchError, match="must not be reached"):
                await send(source, url)
            assert (names.asked, roads.dialled) == ([NAME, NAME], [PUBLIC])
            assert forbidden.connections == 0

    run(scenario)


@pytest.mark.parametrize(
    "url",
    [
        *("", "file:///etc/passwd", "ftp://h/", "http://somebody:secret@h/", "http://h:0/", "http://h/\r\nX: 1"),
        "http://h/" + "a" * 5000,
    ],
)
def test_what_is_no_address_is_asked_of_nobody(url: str) -> None:
    async def scenario() -> None:
        names = Names(h=[[PUBLIC]])
        with pytest.raises(FetchError, match=r"^it is no address to send to$"):
            await send(poster(resolver=names), url)
        assert names.asked == []

    run(scenario)


def test_a_certificate_must_be_of_the_name() -> None:
    authority, stranger = trustme.CA(), trustme.CA()

    async def scenario() -> None:
        for shown, arrives in (
            (serving(authority, NAME), True),
            (serving(authority, "other.example"), False),
            (serving(stranger, NAME), False),
        ):
            async with Listener(taking(answering(), [])).at(tls=shown) as server:
                source = of_public(server, tls=trusting(authority))
                if arrives:
                    assert (await send(source, f"https://{NAME}/")).status == 200
                else:
                    with pytest.raises(FetchError, match="no connection or no answer"):
                        await send(source, f"https://{NAME}/")
                    assert server.heads == [], "something was sent before the certificate was checked"

    run(scenario)


def test_certificates_are_those_that_the_system_trusts() -> None:
    async def scenario() -> None:
        async with Listener().at(tls=serving(trustme.CA(), NAME)) as server:
            with pytest.raises(FetchError, match="no connection or no answer"):
                await send(of_public(server), f"https://{NAME}/")
            assert server.heads == []

    run(scenario)


def test_reasons_have_nothing_of_the_address() -> None:
    async def scenario() -> None:
        async with Listener(redirecting(f"/{SECRET}")).at() as server:
            closed = server.port
        url = f"http://127.0.0.1:{closed}/{SECRET}?key={SECRET}"
        for source in (poster(), poster([HERE]), poster(resolver=Names())):
            with pytest.raises(FetchError) as caught:
                await send(source, url)
            assert SECRET not in caught.value.reason
            assert "127.0.0.1" not in caught.value.reason

    run(scenario)
