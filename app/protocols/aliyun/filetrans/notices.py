"""What a task's callback is sent: one message, when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.domain.transcript import Transcript
from app.protocols.aliyun.filetrans.drawing import callback
from app.service.jobs.job import ENDED, Notice
from app.service.jobs.messages import Message


async def draw(notice: Notice, transcript: Callable[[], Awaitable[Transcript | None]]) -> Message | None:
    """The notice as its callback reads it; None while the task goes on, of which Alibaba Cloud says nothing."""
    if notice.state not in ENDED:
        return None
    # In a thread: a day of words takes a while to draw.
    body = await asyncio.to_thread(callback, notice.job, await transcript())
    return Message(body, "application/json")
