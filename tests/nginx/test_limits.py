"""NGINX_RATE_LIMIT_RPS: each key has its rate, wherever in a request it stands."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.service.auth import _KEY_HEADERS, _QUERY_KEYS

from .proxy import Nginx, from_client, running

PLACES = {
    "authorization": ({"authorization": "Bearer {}"}, ""),
    "another spelling": ({"authorization": "bearer   {}"}, ""),
    "x-nls-token": ({"x-nls-token": "{}"}, ""),
    "api-key": ({"api-key": "{}"}, ""),
    "token": ({}, "token={}"),
    "x_nls_token": ({}, "a=b&x_nls_token={}&c=d"),
    "X-NLS-Token": ({}, "X-NLS-Token={}"),
    "api_key": ({}, "format=wav&api_key={}"),
}
"""Headers and addresses a key may stand in: what app/service/auth.py reads."""


def test_every_place_of_a_key_is_tried() -> None:
    headers = {name for name in PLACES if PLACES[name][0]} - {"another spelling"}
    assert headers == {"authorization", *(name.decode() for name in _KEY_HEADERS)}
    assert {name for name in PLACES if PLACES[name][1]} == set(_QUERY_KEYS)


@pytest.mark.parametrize("junk", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_a_key_has_its_rate_wherever_it_stands_and_whoever_sends_it(
    keyed: Nginx, addresses: Iterator[str], place: str, junk: bool
) -> None:
    """Asks from ever new addresses until a request is refused. `junk`: with something new in every other place."""
    key = f"key-{place}-{junk}".replace(" ", "-")
    deadline = time.monotonic() + 60
    statuses: set[int] = set()
    while 429 not in statuses and time.monotonic() < deadline:
        with ThreadPoolExecutor(8) as several:
            asking = [several.submit(ask_with_key, keyed, next(addresses), place, key, junk) for _ in range(8)]
            statuses |= {one.result() for one in asking}
    assert statuses == {200, 429}


def test_keys_have_each_their_own_rate(keyed: Nginx, addresses: Iterator[str]) -> None:
    for place in PLACES:
        keys = [f"{number}-of-many-{place}".replace(" ", "-") for number in range(4)]
        assert {ask_with_key(keyed, next(addresses), place, key, False) for key in keys} == {200}


def ask_with_key(nginx: Nginx, address: str, place: str, key: str, junk: bool) -> int:
    """The status of a request from `address`."""
    header, query = PLACES[place]
    headers, queries = {name: said.format(key) for name, said in header.items()}, [query.format(key)]
    for other, (elsewhere, besides) in PLACES.items() if junk else ():
        if other != place and not set(elsewhere) & set(header):
            headers |= {name: said.format(f"junk-{address}") for name, said in elsewhere.items()}
            queries.insert(0, besides.format(f"junk-{address}"))
    with from_client(address) as http:
        return http.get(f"{nginx.base}/v1/models?{'&'.join(filter(None, queries))}", headers=headers).status_code


@pytest.fixture(scope="module")
def keyed(echo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with running(tmp_path_factory.mktemp("nginx"), [echo], NGINX_RATE_LIMIT_RPS="1") as nginx:
        yield nginx


@pytest.fixture(scope="module")
def addresses() -> Iterator[str]:
    """Each is this machine's, and none comes twice."""
    return (f"127.{number // 62500 + 1}.{number // 250 % 250}.{number % 250 + 1}" for number in itertools.count())
