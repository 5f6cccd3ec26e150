"""What may be said as the address of a recording, before anybody is asked about it."""

from __future__ import annotations

import httpx

MAX_CHARACTERS = 4096
"""Signed addresses of object stores have up to 2,000."""
_PORTS = {"http": 80, "https": 443}


class LocationError(Exception):
    """It is no address to fetch from; the message says why and goes on after the field's name."""


def parse_location(said: str, base: httpx.URL | None = None) -> httpx.URL:
    """The http or https URL that `said` is. `base` is what a redirect's target is relative to.

    The outcome is all that is used later on: its host is the one resolved, vetted, connected to and asked for.

    Raises:
        LocationError: it is none, is too long, has control characters, a user's name or a port that is none.
    """
    if len(said) > MAX_CHARACTERS:
        raise LocationError(f"must not be longer than {MAX_CHARACTERS} characters.")
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in said):
        raise LocationError("must not have control characters.")
    try:
        url = base.join(said) if base is not None else httpx.URL(said)
    except (httpx.InvalidURL, ValueError) as error:  # ValueError: half of a surrogate pair
        raise LocationError("is not an address that can be read.") from error
    if url.scheme not in _PORTS or not url.raw_host:
        raise LocationError("must be an address that begins with http:// or https://.")
    if url.userinfo:
        raise LocationError("must not have a user's name or password in it.")
    if not 0 < port_of(url) < 65536:
        raise LocationError("has a port that is none.")
    return url


def port_of(url: httpx.URL) -> int:
    """The port to connect to."""
    return _PORTS[url.scheme] if url.port is None else url.port
