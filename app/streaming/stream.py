"""One live stream as protocols see it: sound in, events out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from app.domain.events import StreamEvent


class LiveStream(Protocol):
    """One task feeds it, one reads its events."""

    async def feed(self, data: bytes) -> None:
        """More bytes of the sound, cut anywhere. Waits while more is unheard than may be (WS_MAX_BUFFER_SIZE).

        Raises:
            SpeechError: the stream has failed; `events` raises the same.
        """
        ...

    async def finish(self) -> None:
        """No more sound. What was said last is still recognised; then comes Closed. Said again, it changes nothing."""
        ...

    async def commit(self) -> None:
        """What was said so far is over: it is heard as if silence followed. Then comes Committed.

        Raises:
            UnsupportedFeature: the sound is compressed.
            SpeechError: as `feed`.
        """
        ...

    async def clear(self) -> None:
        """Forget what is being said; what is over stays. Then comes Cleared. Raises what `commit` raises."""
        ...

    def events(self) -> AsyncIterator[StreamEvent]:
        """What is said, as it becomes known; ends after Closed. One reader only: partials it did not get to are left
        out for newer ones, nothing else is.

        Raises:
            SpeechError: sound that cannot be decoded, an engine that failed, a reader that is too slow.
        """
        ...
