"""What a request's path is called where paths are logged or counted: as its route is written, without names and ids."""

from __future__ import annotations

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

UNKNOWN = "(unknown)"
"""A path that leads nowhere: anybody can make up any number of those."""
EVERY_PATH = "/{path:path}"
"""The one route of a port that speaks one protocol at every path. The route's name is the protocol's."""


def route_of(scope: Scope) -> str:
    """The route of a request, as `/v1/voices/{id}`, also of one that was refused before it reached it."""
    chosen = scope.get("route")
    if chosen is None:
        routes: list[BaseRoute] = getattr(scope.get("app"), "routes", [])
        found = [(route.matches(scope)[0], route) for route in routes]
        matching = [route for how in (Match.FULL, Match.PARTIAL) for match, route in found if match is how]
        chosen = next(iter(matching), None)
    path = str(getattr(chosen, "path", UNKNOWN))
    return f"({getattr(chosen, 'name', '')}'s own port)" if path == EVERY_PATH else path
