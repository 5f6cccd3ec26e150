"""What can be seen of a webhook when a job is asked for, before anything is ever sent there."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from app.audio.fetching.addresses import Address, Network, may_reach
from app.audio.fetching.locations import LocationError, parse_location
from app.audio.fetching.resolving import as_number
from app.domain.errors import InvalidParameter
from app.service.jobs.signing import PREFIX, signing_key

SHORTEST_SECRET: Final = 16
"""Bytes: fewer could be guessed."""
LONGEST_SECRET: Final = 512
"""Characters."""
_NAME = re.compile(
    r"(?=.{1,253}\.?\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?"
)
"""Of hosts, as name servers know them."""
_THIS_MACHINE = re.compile(r"(?:.*\.)?localhost\.?")
"""Names that are this machine's by RFC 6761."""


def check_webhook(url: str, *, param: str = "webhook_url", networks: Collection[Network] = ()) -> None:
    """That `url` may be a webhook, as far as it shows by itself: no name is looked up. `networks` are those that may be
    called besides the public internet (WEBHOOK_NETWORKS). Errors name `param`.

    Raises:
        InvalidParameter: it is no http or https address, is too long, names a user, or its host is none, or is an
            address that must not be reached.
    """
    try:
        host = parse_location(url).raw_host.decode("ascii").lower()
    except LocationError as error:
        raise InvalidParameter(f"{param} {error}", param=param) from error
    addresses = _addresses(host)
    if addresses is None and not _NAME.fullmatch(host):
        raise InvalidParameter(f"{param} names a host that can be none.", param=param)
    if not all(may_reach(address, networks) for address in addresses or ()):
        told = "must be on the public internet, or in a network that this server is allowed to call (WEBHOOK_NETWORKS)."
        raise InvalidParameter(f"{param} {told}", param=param)


def check_secret(secret: str, *, param: str = "webhook_secret") -> None:
    """That what is sent to a webhook can be signed with `secret`. Errors name `param` and do not repeat it.

    Raises:
        InvalidParameter: it is too short or too long, begins with "whsec_" and goes on with something else than base64,
            or cannot be encoded.
    """
    try:
        key = signing_key(secret)
    except ValueError as error:
        told = f"cannot be used: what follows {PREFIX} must be base64, and anything else must be text."
        raise InvalidParameter(f"{param} {told}", param=param) from error
    if len(key) < SHORTEST_SECRET or len(secret) > LONGEST_SECRET:
        told = f"must be of {SHORTEST_SECRET} bytes at least and {LONGEST_SECRET} characters at most."
        raise InvalidParameter(f"{param} {told}", param=param)


def _addresses(host: str) -> list[Address] | None:
    """Those that `host` is without anybody being asked; None where it is a name."""
    return as_number("127.0.0.1" if _THIS_MACHINE.fullmatch(host) else host)
