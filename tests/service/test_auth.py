"""The key ring."""

from __future__ import annotations

import hmac

import pytest

from app.service import auth
from app.service.auth import KeyRing, key_headers, presented_keys


def test_an_empty_ring_is_open() -> None:
    assert KeyRing([]).open
    assert KeyRing([""]).allows(None)


@pytest.mark.parametrize("key", ["one", "two", "钥匙"])
def test_any_of_the_keys_opens(key: str) -> None:
    assert KeyRing(["one", "two", "钥匙"]).allows(key)


@pytest.mark.parametrize("key", [None, "", "on", "onee", "ONE", "钥"])
def test_nothing_else_does(key: str | None) -> None:
    assert not KeyRing(["one", "two", "钥匙"]).allows(key)


def test_every_key_is_compared_whatever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return hmac.compare_digest(one, other)

    class Spy:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(auth, "hmac", Spy)
    ring = KeyRing(["one", "two", "three"])
    assert ring.allows("one")
    assert len(compared) == 3


def test_keys_do_not_show() -> None:
    ring = KeyRing(["very-secret"])
    assert "very-secret" not in repr(ring) + repr(vars(ring))


@pytest.mark.parametrize(
    ("headers", "keys"),
    [
        ([(b"authorization", b"Bearer a")], ["a"]),
        ([(b"Authorization", b"bearer  a ")], ["a"]),
        ([(b"authorization", b"Basic a")], []),
        ([(b"authorization", b"Bearer")], []),
        ([(b"x-nls-token", b"t")], ["t"]),
        ([(b"api-key", b"k"), (b"x-nls-token", b"t"), (b"authorization", b"Bearer a")], ["a", "t", "k"]),
        ([(b"x-nls-token", "钥匙".encode())], ["钥匙"]),
        ([(b"cookie", b"Bearer a")], []),
    ],
)
def test_where_keys_are_found(headers: list[tuple[bytes, bytes]], keys: list[str]) -> None:
    assert presented_keys(headers) == keys


def test_bytes_that_are_no_text_are_no_key() -> None:
    (key,) = presented_keys([(b"api-key", b"\xff\xfe")])
    assert not KeyRing(["a"]).allows(key)


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("token=t&other=x", ["t"]),
        ("x_nls_token=a&X-NLS-Token=b&api_key=c", ["a", "b", "c"]),
        ("hotwords=%E9%98%BF%E9%87%8C&token=t", ["t"]),
        ("token=%E9%92%A5%E5%8C%99", ["钥匙"]),
        ("token=钥匙", ["钥匙"]),
        ("token=a%2Bb+c", ["a+b c"]),
        ("token=", []),
    ],
)
def test_keys_in_an_address_whatever_else_it_says(query: str, keys: list[str]) -> None:
    assert presented_keys(key_headers({"headers": [], "query_string": query.encode()})) == keys


def test_an_address_that_is_no_text_has_no_key() -> None:
    for query in (b"token=%FF%FE", b"token=\xff\xfe", b"a=%FF&token=%00"):
        assert not KeyRing(["a"]).allows(
            next(iter(presented_keys(key_headers({"headers": [], "query_string": query}))))
        )
