"""One try to tell an owner something at its webhook: drawn by its protocol, signed, sent, and judged by the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from app.audio.fetching.failures import FetchError
from app.audio.fetching.posting import Answer, Poster
from app.domain.errors import Overloaded, SpeechError, UnknownJob
from app.service.jobs.job import Face, Notice, Webhook
from app.service.jobs.messages import Drawer, Message
from app.service.jobs.signing import signature
from app.service.jobs.store import JobStore

DRAW_SECONDS: Final = 20.0
"""How long a protocol may draw; reading a long transcript is most of it."""
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: it has arrived, there was nothing to send, it has not arrived, or never will.

    `reason` is for the log and has nothing of the address; `retry_after` is when the receiver wants to be asked again,
    in seconds, where it says so.
    """

    kind: Literal["sent", "nothing", "failed", "refused"]
    reason: str = ""
    retry_after: float | None = None


class Sender:
    """Sends notices, each by itself."""

    def __init__(
        self,
        store: JobStore,
        drawers: Mapping[Face, Drawer],
        poster: Poster,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives the epoch seconds that are signed."""
        self._store = store
        self._drawers = drawers
        self._poster = poster
        self._clock = clock

    async def send(self, notice: Notice) -> Outcome:
        """Try it once, which takes DRAW_SECONDS and the poster's seconds at most."""
        webhook = notice.job.request.webhook
        drawer = self._drawers.get(notice.job.request.face)
        if webhook is None:
            return Outcome("nothing")
        if drawer is None:
            return Outcome("failed", "this server does not know the protocol that it was asked in")
        transcript = partial(self._store.transcript, notice.job.owner, notice.job.id)
        try:
            async with asyncio.timeout(DRAW_SECONDS):
                message = await drawer(notice, transcript)
        except UnknownJob:  # it was deleted meanwhile
            return Outcome("nothing")
        except TimeoutError:
            return Outcome("failed", "it could not be drawn in time")
        except SpeechError as error:
            return Outcome("failed", f"it could not be drawn ({type(error).__name__})")
        return Outcome("nothing") if message is None else await self._post(notice, webhook, message)

    async def _post(self, notice: Notice, webhook: Webhook, message: Message) -> Outcome:
        headers = _headers(notice, webhook, message, int(self._clock()))
        try:
            answer = await self._poster.post(webhook.url, message.body, headers, key=notice.job.owner)
        except FetchError as failure:
            return Outcome("failed", failure.reason)
        except Overloaded as error:
            return Outcome("failed", "too many names are being looked up", error.retry_after)
        return _judged(answer)


def _headers(notice: Notice, webhook: Webhook, message: Message, now: int) -> dict[str, str]:
    headers = {
        "Content-Type": message.media_type,
        **message.headers,
        "webhook-id": notice.id,
        "webhook-timestamp": str(now),
    }
    if webhook.secret:
        headers["webhook-signature"] = signature(webhook.secret, notice.id, now, message.body)
    return headers


def _judged(answer: Answer) -> Outcome:
    if 200 <= answer.status < 300:
        return Outcome("sent")
    if answer.status == _GONE:
        return Outcome("refused", "answered 410, it wants to hear no more")
    if 300 <= answer.status < 400:
        return Outcome("failed", f"answered {answer.status}, a redirect, which is not followed", answer.retry_after)
    return Outcome("failed", f"answered {answer.status}", answer.retry_after)
