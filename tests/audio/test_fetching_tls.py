"""https: the name is verified, whatever the address, and by whom it is vouched for."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from app.audio.fetching.failures import NOT_FETCHED
from app.domain.errors import AddressNotFetched

from .fetching import NAME, PUBLIC, SOUND, Listener, Names, Roads, answering, fetch, fetcher, redirecting, run

OTHER = "other.example"


def serving(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_a_trusted_server_is_found_by_its_name_at_an_address_that_was_vetted(tmp_path: Path) -> None:
    authority = trustme.CA()

    async def scenario() -> None:
        async with Listener().at(tls=serving(authority, NAME)) as server:
            source = fetcher(
                networks=["127.0.0.1/32"], resolver=Names(**{NAME: [["127.0.0.1"]]}), tls=trusting(authority)
            )
            assert await fetch(source, f"https://{NAME}:{server.port}/", tmp_path) == SOUND
            assert f"\r\nHost: {NAME}:{server.port}\r\n".encode() in server.heads[0]

    run(scenario)


@pytest.mark.parametrize("who", ["nobody trusted", "another name", "the system's trust"])
def test_certificates_that_prove_nothing(tmp_path: Path, who: str) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    shown = serving(stranger if who == "nobody trusted" else authority, OTHER if who == "another name" else NAME)
    tls = None if who == "the system's trust" else trusting(authority)

    async def scenario() -> None:
        async with Listener().at(tls=shown) as server:
            roads = Roads.to(server)
            source = fetcher(resolver=Names(**{NAME: [[PUBLIC]]}), dialer=roads, tls=tls)
            with pytest.raises(AddressNotFetched) as caught:
                await fetch(source, f"https://{NAME}/", tmp_path)
            assert caught.value.message == NOT_FETCHED
            assert roads.dialled == [PUBLIC]
            assert server.heads == [], "something was asked before the certificate was checked"

    run(scenario)


def test_a_server_that_speaks_no_tls(tmp_path: Path) -> None:
    authority = trustme.CA()

    async def scenario() -> None:
        async with Listener(answering()).at() as server:
            source = fetcher(
                resolver=Names(**{NAME: [[PUBLIC]]}), dialer=Roads.to(server), tls=trusting(authority), seconds=1.0
            )
            with pytest.raises(AddressNotFetched) as caught:
                await fetch(source, f"https://{NAME}/", tmp_path)
            assert caught.value.message == NOT_FETCHED
            async with asyncio.timeout(5):
                await server.gone.wait()

    run(scenario)


def test_a_name_that_tls_takes_for_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Listener().at() as server:
            names = Names(**{".example": [[PUBLIC]]})
            with pytest.raises(AddressNotFetched) as caught:
                await fetch(fetcher(resolver=names, dialer=Roads.to(server)), "https://.example/", tmp_path)
            assert caught.value.message == NOT_FETCHED

    run(scenario)


def test_a_redirect_from_https_to_http_obeys_the_same_rules(tmp_path: Path) -> None:
    authority = trustme.CA()

    async def scenario() -> None:
        async with Listener().at("127.0.0.1") as plain, Listener().at("127.0.0.2") as forbidden:
            for target, arrives in ((plain, True), (forbidden, False)):
                there = f"http://127.0.0.{1 if arrives else 2}:{target.port}/"
                async with Listener(redirecting(there)).at(tls=serving(authority, NAME)) as first:
                    names = Names(**{NAME: [["127.0.0.1"]], "127.0.0.1": [["127.0.0.1"]], "127.0.0.2": [["127.0.0.2"]]})
                    source = fetcher(networks=["127.0.0.1/32"], resolver=names, tls=trusting(authority))
                    url = f"https://{NAME}:{first.port}/"
                    if arrives:
                        assert await fetch(source, url, tmp_path) == SOUND
                    else:
                        with pytest.raises(AddressNotFetched, match="could not be fetched"):
                            await fetch(source, url, tmp_path)
            assert (plain.connections, forbidden.connections) == (1, 0)

    run(scenario)
