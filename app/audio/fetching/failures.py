"""Why a recording could not be fetched: what the log may know, and what the caller may."""

from __future__ import annotations

NOT_FETCHED = (
    "The recording could not be fetched from this address. It must be a public http or https address that answers."
)
"""One text for a name that does not resolve, an address that must not be reached, a connection that is refused and one
that is not answered: told apart, they would map the networks behind this server for anybody who asks."""


class FetchError(Exception):
    """It could not be fetched. `reason` is for the log and has nothing of the address; `told` is for the caller, and
    `passing` is whether it may go better later: of all that is told with NOT_FETCHED it may, or who asks again would
    tell apart what must not be."""

    def __init__(self, reason: str, *, told: str = NOT_FETCHED, passing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.told = told
        self.passing = passing or told == NOT_FETCHED
