"""Ephemeral keys."""

from __future__ import annotations

import pytest

from app.domain.errors import Overloaded
from app.service.secrets import PREFIX, EphemeralKeys, Grant


class Clock:
    def __init__(self) -> None:
        self.now = 1000.5

    def __call__(self) -> float:
        return self.now


def test_a_key_stands_for_its_owner_and_session_until_it_expires() -> None:
    clock = Clock()
    keys = EphemeralKeys(clock=clock)
    key = keys.issue("owner", '{"a": 1}', 60)

    assert key.value.startswith(PREFIX)
    assert key.expires_at == 1060
    assert keys.find(key.value) == Grant("owner", '{"a": 1}', 1060)
    assert keys.find(key.value) is not None, "it may be used more than once"
    clock.now = 1060.0
    assert keys.find(key.value) is None


@pytest.mark.parametrize("presented", ["", PREFIX, "ek_guess", "钥匙", "\udcff"])
def test_nothing_else_is_a_key(presented: str) -> None:
    keys = EphemeralKeys()
    keys.issue("owner", "", 60)

    assert keys.find(presented) is None


def test_keys_differ_and_do_not_show() -> None:
    keys = EphemeralKeys()
    made = {keys.issue("owner", "", 60).value for _ in range(20)}

    assert len(made) == 20
    assert not any(value in repr(vars(keys)) for value in made)


def test_each_owner_has_places_of_its_own_which_expiry_frees() -> None:
    clock = Clock()
    keys = EphemeralKeys(most_of_an_owner=2, clock=clock)
    keys.issue("one", "", 10)
    keys.issue("one", "", 60)
    with pytest.raises(Overloaded) as caught:
        keys.issue("one", "", 10)
    assert 9 <= caught.value.retry_after <= 10
    keys.issue("two", "", 10)

    clock.now += 10
    keys.issue("one", "", 10)
