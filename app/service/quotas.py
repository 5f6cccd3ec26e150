"""How much each caller may ask for: requests a minute, live streams at once, seconds of sound an hour.

Callers are keys; where no key is needed, addresses, and all jobs together. What they used is in memory, and nowhere
else.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, Self, TypeAlias, cast

from app.audio.protocol import CHANNELS_ALIKE
from app.audio.recording import Recording
from app.domain.engines import SAMPLE_RATE
from app.domain.errors import AudioQuotaTooSmall, Overloaded, QuotaExceeded, RequestError, SpeechError
from app.service.admission import Caller, Ticket
from app.service.auth import KeyRing
from app.service.quota_file import KeyLimits, place_of, read_key_limits
from app.service.quota_windows import Used, Windows
from app.settings import Settings

Measure: TypeAlias = Literal["requests", "streams", "seconds"]

_MINUTE, _HOUR = 60.0, 3600.0
_STREAM_RETRY_SECONDS = 5.0
"""Nobody knows when a live stream will end."""
_STREAM_PATIENCE = 1.0
"""Seconds: a client that has seen the end of its stream and begins the next may be quicker than what is put away
here."""
_LIVE_SLACK = 2
"""Seconds more in an hour that a live stream may be heard for each 3600 that there may be: one by which what was used
counts longer (quota_windows), one for sound that comes late. Without it a stream in real time ends after an hour."""
_SHOWN_DIGITS = 8
"""Of a digest: what tells an operator's keys from each other."""
_FIELDS: Mapping[Measure, str] = {
    "requests": "requests_per_minute",
    "streams": "streams",
    "seconds": "audio_seconds_per_hour",
}
"""What each measure's limit is called in KEY_LIMITS_FILE; the setting is called so, too, with key_ before it."""

JOBS_ADDRESS: Final = "jobs"
"""Whose limits those of all jobs are that were handed over without a key."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Amounts:
    """Requests a minute, live streams at once, and seconds of sound an hour: how many. Of limits, 0 is any number."""

    requests: int = 0
    streams: int = 0
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one caller has used that still counts, and its limits. `name` is a key's in KEY_LIMITS_FILE, else the
    beginning of its digest, an address (of IPv6, the network), or JOBS_ADDRESS. `seconds` are rounded up."""

    name: str
    used: Amounts
    limits: Amounts


@dataclass(frozen=True, slots=True)
class Room:
    """How many requests a caller may make: `limit` a minute, `remaining` now, `limit` again in `resets` seconds."""

    limit: int
    remaining: int
    resets: float


class Quotas:
    """What everybody has used. Belongs to one event loop."""

    def __init__(
        self,
        usual: Amounts,
        own: Mapping[str, KeyLimits] | None = None,
        *,
        keys: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`usual` limits hold where a caller has none of its `own`, by Caller.key; `keys` are all there may be.

        `clock` is in seconds and never goes back.
        """
        self._usual = usual
        self._own = dict(own or {})
        self._keys = keys
        self._requests = Windows(_MINUTE, clock)
        self._sound = Windows(_HOUR, clock)  # in samples
        self._streams: Counter[str] = Counter()
        self._ends: dict[str, asyncio.Event] = {}  # of callers that wait for a stream's end

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As they are set. Limits for keys that nobody has are logged.

        Raises:
            ConfigUnusable: KEY_LIMITS_FILE cannot be read, or makes no sense.
        """
        usual = Amounts(**{measure: getattr(settings, f"key_{field}") for measure, field in _FIELDS.items()})
        owners = {hashlib.sha256(_bytes(key)).hexdigest(): _owner(key) for key in settings.keys}
        own: dict[str, KeyLimits] = {}
        path = settings.key_limits_file
        for number, entry in enumerate(read_key_limits(path) if path is not None else ()):
            if entry.sha256 in owners:
                own[owners[entry.sha256]] = entry
            else:
                place = place_of(("keys", number))
                _logger.warning("KEY_LIMITS_FILE: %s has no effect: its sha256 is of none of API_KEYS", place)
        return cls(usual, own, keys=tuple(dict.fromkeys(owners.values())))

    # --- requests -----------------------------------------------------------------------------------------------------

    def request(self, caller: Caller, enter: Callable[[Caller], Ticket]) -> Ticket:
        """Count a request, unless `enter` refuses it, or it ends because the server is full or has limits.

        Raises:
            QuotaExceeded: it is one too many.
            SpeechError: what `enter` raises.
        """
        request = self._use_request(caller)
        try:
            ticket = enter(caller)
        except SpeechError:
            if request is not None:
                request.give_back()
            raise
        if request is not None:
            ticket.when_failed(partial(_give_back_request, request))
        return ticket

    def _use_request(self, caller: Caller) -> Used | None:
        who, limit = _who(caller), self._limit(caller, "requests")
        if not limit:
            return None
        if wait := self._requests.wait(who, 1, limit):
            told = f"{_this(caller)} has made the {limit} requests a minute that it may"
            raise self._exceeded(told, "requests", caller, wait)
        return self._requests.use(who, 1)

    def requests_left(self, caller: Caller) -> Room | None:
        """How many requests there is room for; None: they are not limited."""
        who, limit = _who(caller), self._limit(caller, "requests")
        if not limit:
            return None
        return Room(limit, max(0, limit - self._requests.used(who)), self._requests.resets(who))

    # --- recordings ---------------------------------------------------------------------------------------------------

    def sound(self, ticket: Ticket, seconds: float) -> None:
        """Count a recording's seconds, one that has begun as a whole one. If the request fails, with this or another of
        its recordings, nothing was used. (It was if the caller leaves, or wanted no more of what had begun.)

        Raises:
            QuotaExceeded: there is not so much left.
            AudioQuotaTooSmall: there never will be.
        """
        used = self._use_sound(ticket.caller, math.ceil(seconds))
        if used is not None:
            ticket.when_failed(lambda _: None if ticket.abandoned else used.give_back())

    @contextmanager
    def job_sound(self, caller: Caller, seconds: float, counts: Callable[[], bool]) -> Generator[None]:
        """Count a job's recording's seconds, unless they are not to count when the block ends, however it does: then
        they are counted when it is taken up again. Raises as `sound`."""
        used = self._use_sound(caller, math.ceil(seconds))
        try:
            yield
        finally:
            if used is not None and not counts():
                used.give_back()

    def _use_sound(self, caller: Caller, seconds: int) -> Used | None:
        who, limit = _who(caller), self._limit(caller, "seconds")
        if not limit:
            return None
        if seconds > limit:
            raise AudioQuotaTooSmall(
                f"The recording is {seconds} s of sound, and {_this(caller).lower()} may send {limit} s an hour "
                f"({self._set_by('seconds', caller)}): it will never be taken. Send shorter ones."
            )
        if wait := self._sound.wait(who, seconds * SAMPLE_RATE, limit * SAMPLE_RATE):
            left = max(0, limit - _seconds(self._sound.used(who)))
            told = (
                f"The recording is {seconds} s of sound, and of the {limit} s an hour that {_this(caller).lower()} "
                f"may send, {left} s are left"
            )
            raise self._exceeded(told, "seconds", caller, wait)
        return self._sound.use(who, seconds * SAMPLE_RATE)

    # --- live streams -------------------------------------------------------------------------------------------------

    async def stream_room(self, caller: Caller) -> None:
        """Wait a moment for the end of one of a caller's streams, where it has as many as it may."""
        who, loop = _who(caller), asyncio.get_running_loop()
        until = loop.time() + _STREAM_PATIENCE
        while self._streams_full(caller) and loop.time() < until:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._ends.setdefault(who, asyncio.Event()).wait()

    @contextmanager
    def stream(self, caller: Caller) -> Generator[Allowance]:
        """Count a live stream, as a request, too, for as long as it goes on. A request that the server then could not
        begin on was none.

        Raises:
            QuotaExceeded: it is one too many, or there is no sound left that may be heard.
        """
        allowance = Allowance(self, caller)
        self._check_stream(caller)
        allowance.check()
        request, who = self._use_request(caller), _who(caller)
        self._streams[who] += 1
        try:
            yield allowance
        except SpeechError as error:
            if request is not None and not allowance.begun and not isinstance(error, RequestError):
                request.give_back()
            raise
        finally:
            self._streams[who] -= 1
            if not self._streams[who]:
                del self._streams[who]
            if ended := self._ends.pop(who, None):
                ended.set()

    def _streams_full(self, caller: Caller) -> bool:
        limit = self._limit(caller, "streams")
        return bool(limit) and self._streams[_who(caller)] >= limit

    def _check_stream(self, caller: Caller) -> None:
        if self._streams_full(caller):
            limit = self._limit(caller, "streams")
            told = f"{_this(caller)} has the {limit} live streams at once that it may"
            setting = self._set_by("streams", caller)
            raise QuotaExceeded(f"{told} ({setting}). End one first.", retry_after=_STREAM_RETRY_SECONDS)

    def hear(self, caller: Caller, samples: int) -> int:
        """Count as many of so many samples (16 kHz) of a live stream as there is room for; returns how many."""
        who, limit = _who(caller), self._limit(caller, "seconds")
        if limit:
            samples = min(samples, max(0, _with_slack(limit) * SAMPLE_RATE - self._sound.used(who)))
            if samples:
                self._sound.use(who, samples)
        return samples

    def check_sound(self, caller: Caller, *, begun: bool = True) -> None:
        """Make sure that a second of a live stream, which has `begun` or is to, could be heard.

        Raises:
            QuotaExceeded: it could not.
        """
        limit = self._limit(caller, "seconds")
        most = _with_slack(limit) if begun else limit
        if limit and (wait := self._sound.wait(_who(caller), SAMPLE_RATE, most * SAMPLE_RATE)):
            told = f"{_this(caller)} has sent the {limit} s of sound an hour that it may"
            raise self._exceeded(told, "seconds", caller, wait)

    # --- who ----------------------------------------------------------------------------------------------------------

    def usage(self) -> list[Usage]:
        """Of every key, and of every address that has used something that still counts."""
        present = dict.fromkeys((*self._keys, *self._requests.callers, *self._sound.callers, *self._streams))
        return [
            Usage(
                self._name(who),
                Amounts(self._requests.used(who), self._streams.get(who, 0), _seconds(self._sound.used(who))),
                Amounts(**{measure: self._limit_of(who, measure) for measure in _FIELDS}),
            )
            for who in present
        ]

    def _name(self, who: str) -> str:
        if who in self._own:
            return self._own[who].name
        return who[:_SHOWN_DIGITS] if who in self._keys else who

    def _limit(self, caller: Caller, measure: Measure) -> int:
        """0 where there is none; the command line, which has neither key nor address, has none."""
        return self._limit_of(who, measure) if (who := _who(caller)) else 0

    def _limit_of(self, who: str, measure: Measure) -> int:
        own = self._own_limit(who, measure)
        return cast("int", getattr(self._usual, measure)) if own is None else own

    def _own_limit(self, who: str, measure: Measure) -> int | None:
        return cast("int | None", getattr(self._own.get(who), _FIELDS[measure], None))

    def _set_by(self, measure: Measure, caller: Caller) -> str:
        """The setting to change for another limit."""
        own = self._own_limit(_who(caller), measure)
        return f"KEY_{_FIELDS[measure].upper()}" if own is None else "KEY_LIMITS_FILE"

    def _exceeded(self, told: str, measure: Measure, caller: Caller, wait: float) -> QuotaExceeded:
        setting = self._set_by(measure, caller)
        return QuotaExceeded(f"{told} ({setting}). There is room again in {math.ceil(wait)} s.", retry_after=wait)


class Allowance:
    """What of one live stream may be heard."""

    def __init__(self, quotas: Quotas, caller: Caller) -> None:
        self._quotas = quotas
        self._caller = caller
        self.begun = False
        """Whether any of it was to be heard."""

    def hear(self, samples: int) -> int:
        """Count as many of so many samples (16 kHz) as there is room for; returns how many. The rest must not be
        heard."""
        self.begun = True
        return self._quotas.hear(self._caller, samples)

    def check(self) -> None:
        """Make sure that a second more could be heard.

        Raises:
            QuotaExceeded: it could not.
        """
        self._quotas.check_sound(self._caller, begun=self.begun)


def sound_of(recording: Recording) -> float:
    """Seconds of sound that are recognised: of channels that are kept apart, each one's."""
    return recording.duration * (1 if CHANNELS_ALIKE in recording.warnings else recording.channels)


def _give_back_request(request: Used, error: Exception) -> None:
    if isinstance(error, Overloaded | AudioQuotaTooSmall):
        request.give_back()


def _with_slack(seconds: int) -> int:
    """How much of an hour's sound may be live."""
    return seconds + seconds // int(_HOUR) * _LIVE_SLACK


def _who(caller: Caller) -> str:
    """Whose limits a caller's are: a key's, an address's, or nobody's ("")."""
    return caller.key or _neighbourhood(caller.address)


def _neighbourhood(address: str) -> str:
    """An address; of IPv6 its /64, which is what one subscriber has at least."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # none: a socket in the file system
        return address
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), 64), strict=False))


def _this(caller: Caller) -> str:
    if caller.key:
        return "This key"
    return "All jobs together" if caller.address == JOBS_ADDRESS else "This address"


def _seconds(samples: int) -> int:
    return -(-samples // SAMPLE_RATE)


def _owner(key: str) -> str:
    """What a Caller with this key is called."""
    return KeyRing([key]).owner([(b"x-nls-token", _bytes(key))])


def _bytes(key: str) -> bytes:
    return key.encode(errors="surrogateescape")
