"""Addresses that must not be reached: told apart, and never connected to, however they are written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audio.fetching.addresses import may_reach
from app.audio.fetching.failures import NOT_FETCHED
from app.domain.errors import AddressNotFetched, InvalidParameter

from .fetching import NAME, PUBLIC, SOUND, Listener, Names, Roads, fetch, fetcher, redirecting, run

REFUSED = (AddressNotFetched, InvalidParameter)
OTHER_PUBLIC = "198.41.0.4"
PRIVATE = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.9", "192.0.0.170", "192.0.2.1"),
    *("192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
    *("233.252.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::ffff:0:7f00:1", "100::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%2"),
    *("fec0::1", "ff02::1", "ff0e::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:20::1"),
    *("2001:db8::1", "2002:7f00:1::", "2002:5db8:d70e::1", "3fff::1", "5f00::1", "64:ff9b:1::1", "4000::1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254"),
]
REACHED = [
    *(PUBLIC, OTHER_PUBLIC, "1.1.1.1", "172.32.0.1", "100.128.0.1", "223.255.255.255"),
    *("2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2a00:1450:4001:830::200e", "64:ff9b::5db8:d70e"),
    f"::ffff:{PUBLIC}",
]
LOOPBACK = [
    *("127.0.0.1", "127.1", "127.0.1", "127.0.0.2", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "017700000001"),
    *("0177.0.0.1", "0177.1", "00000177.0.0.1", "127.000.000.001", "0.0.0.0", "0", "localhost", "LOCALHOST"),
    *("localhost.", "127.0.0.1.", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    *("[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[::1%25lo]", "[fe80::1%25lo]", "[fe80::1]"),
    *(
        "１２７.０.０.１",
        "127。0。0。1",
        "127．0．0．1",
        "127｡0｡0｡1",
        "①②⑦.0.0.1",
        "ｌocalhost",
        "127%2e0%2e0%2e1",
        "%6c%6f",
    ),
    *("127.0.0.1%00.example", "127.0.0.1\\.example", "localhost%20", "ip6-localhost", "a..b", "a" * 70, "-"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_must_not_be_reached(address: str) -> None:
    assert not may_reach(ip_address(address), [])


@pytest.mark.parametrize("address", REACHED)
def test_what_is_public_may_be_reached(address: str) -> None:
    assert may_reach(ip_address(address), [])


@given(st.ip_addresses(v=4))
def test_an_address_in_other_clothes_is_no_other_address(address: IPv4Address) -> None:
    public = may_reach(address, [])
    assert may_reach(IPv6Address(f"::ffff:{address}"), []) == public
    assert may_reach(IPv6Address(f"64:ff9b::{address}"), []) == public
    assert not may_reach(IPv6Address(f"::{address}"), [])


@given(st.ip_addresses(v=6))
def test_ipv6_outside_of_what_is_given_out_must_not_be_reached(address: IPv6Address) -> None:
    inside = address in ip_network("2000::/3") or address in ip_network("64:ff9b::/96") or address.ipv4_mapped
    assert inside or not may_reach(address, [])


def test_named_networks_may_be_reached_and_their_neighbours_may_not() -> None:
    networks = [ip_network("10.1.0.0/16"), ip_network("192.168.7.3"), ip_network("fd12::/16")]
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "192.168.7.3", "fd12::5"):
        assert may_reach(ip_address(address), networks), address
    for address in ("10.2.0.1", "192.168.7.4", "fd13::5", "::10.1.2.3", "64:ff9b::10.1.2.3", "fd12::5%2"):
        assert not may_reach(ip_address(address), networks), address


@pytest.mark.parametrize("host", LOOPBACK)
def test_no_spelling_of_this_machine_is_connected_to(tmp_path: Path, host: str) -> None:
    async def scenario() -> None:
        async with Listener().at("127.0.0.1") as four, Listener().at("::1") as six:
            for listener in (four, six):
                with pytest.raises(REFUSED) as caught:
                    await fetch(fetcher(), f"http://{host}:{listener.port}/", tmp_path)
                if isinstance(caught.value, AddressNotFetched):
                    assert caught.value.message == NOT_FETCHED
            assert (four.connections, six.connections) == (0, 0)

    run(scenario)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "[::ffff:127.0.0.1]", "127。0。0。1"]
)
def test_the_same_spellings_reach_it_where_the_operator_allows_that(tmp_path: Path, host: str) -> None:
    async def scenario() -> None:
        async with Listener().at("127.0.0.1") as server:
            source = fetcher(networks=["127.0.0.1/32", "::1/128"])
            assert await fetch(source, f"http://{host}:{server.port}/", tmp_path) == SOUND

    run(scenario)


@pytest.mark.parametrize("address", PRIVATE)
def test_nobody_dials_a_forbidden_address_whatever_its_name(tmp_path: Path, address: str) -> None:
    async def scenario() -> None:
        roads = Roads()
        source = fetcher(resolver=Names(**{NAME: [[address]]}), dialer=roads)
        with pytest.raises(AddressNotFetched) as caught:
            await fetch(source, f"http://{NAME}/latest/meta-data/", tmp_path)
        assert caught.value.message == NOT_FETCHED
        assert roads.dialled == []

    run(scenario)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_forbidden_address_among_others_is_enough(tmp_path: Path, place: int) -> None:
    async def scenario() -> None:
        answer = [PUBLIC, OTHER_PUBLIC]
        answer.insert(place, "10.0.0.7")
        async with Listener().at() as server:
            roads = Roads.to(server)
            with pytest.raises(AddressNotFetched):
                await fetch(fetcher(resolver=Names(**{NAME: [answer]}), dialer=roads), f"http://{NAME}/", tmp_path)
            assert (roads.dialled, server.connections) == ([], 0)

    run(scenario)


def test_a_name_that_changes_its_mind_is_not_asked_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener().at() as public, Listener().at("127.0.0.2") as forbidden:
            names, roads = Names(**{NAME: [[PUBLIC], ["127.0.0.2"]]}), Roads.to(public)
            source = fetcher(resolver=names, dialer=roads)
            assert await fetch(source, f"http://{NAME}:{forbidden.port}/", tmp_path) == SOUND
            assert names.asked == [NAME]
            assert roads.dialled == [PUBLIC]
            assert forbidden.connections == 0

    run(scenario)


def test_a_redirect_to_a_name_that_has_changed_its_mind_is_vetted_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener().at("127.0.0.2") as forbidden:
            url = f"http://{NAME}:{forbidden.port}/"
            async with Listener(redirecting(url)).at() as public:
                names, roads = Names(**{NAME: [[PUBLIC], ["127.0.0.2"]]}), Roads.to(public)
                with pytest.raises(AddressNotFetched) as caught:
                    await fetch(fetcher(resolver=names, dialer=roads), url, tmp_path)
            assert caught.value.message == NOT_FETCHED
            assert names.asked == [NAME, NAME]
            assert roads.dialled == [PUBLIC]
            assert forbidden.connections == 0

    run(scenario)


@pytest.mark.parametrize("target", ["http://127.0.0.2:{port}/", "//127.0.0.2:{port}/", "http://2130706434:{port}/x"])
def test_a_redirect_from_an_allowed_server_to_a_forbidden_one_is_not_followed(tmp_path: Path, target: str) -> None:
    async def scenario() -> None:
        async with Listener().at("127.0.0.2") as forbidden:
            there = target.format(port=forbidden.port)
            async with Listener(redirecting(there)).at("127.0.0.1") as allowed:
                with pytest.raises(AddressNotFetched) as caught:
                    await fetch(fetcher(networks=["127.0.0.1/32"]), f"http://127.0.0.1:{allowed.port}/", tmp_path)
                assert allowed.connections == 1
            assert caught.value.message == NOT_FETCHED
            assert forbidden.connections == 0

    run(scenario)


@pytest.mark.parametrize(
    "target",
    [
        *("file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1:70/", "data:,x", "javascript:1", ""),
        *("http://somebody:secret@127.0.0.1/", "http://127.0.0.1:0/", "http://127.0.0.1:99999/", "http://[::1/"),
        "/" + "a" * 5000,
    ],
)
def test_redirects_to_what_could_not_be_said_at_first_are_not_followed(tmp_path: Path, target: str) -> None:
    async def scenario() -> None:
        async with Listener(redirecting(target)).at("127.0.0.1") as server:
            with pytest.raises(AddressNotFetched) as caught:
                await fetch(fetcher(networks=["127.0.0.1/32"]), f"http://127.0.0.1:{server.port}/", tmp_path)
            assert caught.value.message == NOT_FETCHED
            assert server.connections == 1

    run(scenario)


def test_nobody_learns_why_an_address_cannot_be_had(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener().at("127.0.0.1") as server:
            closed = server.port
            async with Listener().at("127.0.0.1") as listening:
                names = Names(private_example=[["127.0.0.1"]], refused_example=[[PUBLIC]])
                told: set[tuple[str, str, str | None, bool]] = set()
                server.port = 1  # nobody listens there
                for host, port in (("private.example", listening.port), ("private.example", closed), ("no.such", 80)):
                    with pytest.raises(AddressNotFetched) as caught:
                        await fetch(fetcher(resolver=names, dialer=Roads()), f"http://{host}:{port}/", tmp_path)
                    told.add((caught.value.message, caught.value.code, caught.value.param, caught.value.passing))
                roads = Roads.to(server)
                with pytest.raises(AddressNotFetched) as caught:
                    await fetch(fetcher(resolver=names, dialer=roads), "http://refused.example/", tmp_path)
                assert roads.dialled == [PUBLIC]
                told.add((caught.value.message, caught.value.code, caught.value.param, caught.value.passing))
                assert told == {(NOT_FETCHED, "audio_address_not_fetched", "audio_address", True)}

    run(scenario)


def test_the_next_address_of_a_name_is_tried_where_one_refuses(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener().at() as server:
            dead = Listener()
            dead.port = 1
            roads = Roads(**{PUBLIC: dead, OTHER_PUBLIC: server})
            names = Names(**{NAME: [[PUBLIC, f"::ffff:{PUBLIC}", OTHER_PUBLIC]]})
            assert await fetch(fetcher(resolver=names, dialer=roads), f"http://{NAME}/", tmp_path) == SOUND
            assert roads.dialled == [PUBLIC, OTHER_PUBLIC]

    run(scenario)
