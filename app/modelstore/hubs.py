"""Files from model hubs over HTTP: resumed where the last try ended, verified before they get their name."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx

from app.modelstore.catalog import ModelFile
from app.modelstore.disk import is_intact, size_of
from app.modelstore.mirrors import MirrorError, Timeouts
from app.modelstore.progress import Progress

MAX_DROPS = 50
"""A line may drop this often during one file, as long as bytes arrive in between."""

BLOCK = 128 * 1024
MAX_IN_MEMORY = 16 * 1024 * 1024
"""Bytes: lists of files have thousands, and hubs hash every file above 10 MB (Hugging Face) themselves."""
MAX_READ_SECONDS = 30.0
"""For what is read into memory, so that a hub that sends a byte now and then is not waited for."""


class HubClient:
    """One connection pool for a run."""

    def __init__(self, timeouts: Timeouts) -> None:
        """Open nothing yet.

        Raises:
            MirrorError: the environment's proxy settings cannot be used.
        """
        self._timeouts = timeouts
        try:
            self._client = httpx.Client(
                timeout=httpx.Timeout(timeouts.read, connect=timeouts.connect),
                follow_redirects=True,
                headers={
                    "accept-encoding": "identity"
                },  # a range of a compressed body would not be a range of the file
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:  # a SOCKS proxy without its package; a bad address
            raise MirrorError(f"the proxy settings in the environment cannot be used: {error}", down=True) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def listing(self, url: str) -> object:
        """The JSON at `url`: a repository's list of files.

        Raises:
            MirrorError: it cannot be reached, or answers something else.
        """
        try:
            return json.loads(self.read(url))
        except (ValueError, RecursionError) as error:
            raise MirrorError("its list of files is not JSON") from error

    def read(self, url: str) -> bytes:
        """What is at `url`, which must be small.

        Raises:
            MirrorError: it cannot be reached, refuses, or sends more than MAX_IN_MEMORY.
        """
        body = bytearray()
        end = time.monotonic() + MAX_READ_SECONDS
        try:
            with self._client.stream("GET", url) as response:
                if not response.is_success:
                    raise MirrorError(f"it answers {response.status_code} {response.reason_phrase}".rstrip())
                for block in response.iter_bytes():
                    body += block
                    if len(body) > MAX_IN_MEMORY:
                        raise MirrorError(f"it sends more than {MAX_IN_MEMORY} bytes where few were expected")
                    if time.monotonic() > end:
                        raise MirrorError(f"it took more than {MAX_READ_SECONDS:g} s over little", down=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MirrorError(self._describe(error), down=True) from error
        return bytes(body)

    def download(self, url: str, file: ModelFile, target: Path, label: str, progress: Progress) -> None:
        """Fetch `url` to `target`. What arrives is kept beside it in a .part file until all is there and verified.

        Raises:
            MirrorError: it does not have the file, cannot be reached, or sends other bytes.
            OSError: the disk is full or cannot be written.
        """
        part = target.with_name(target.name + ".part")
        if size_of(part) > file.size:
            part.unlink()
        started_with = max(size_of(part), 0)
        progress.start(label, file.size, started_with)
        try:
            self._receive_all(url, file, part, progress)
            if started_with and not is_intact(part, file):
                part.unlink()  # the first half may have come from another mirror with other bytes: once more from zero
                self._receive_all(url, file, part, progress)
        finally:
            progress.finish()
        if not is_intact(part, file):
            part.unlink()
            raise MirrorError(f"it sends other bytes than {file.stated_by} says (sha256 differs)")
        part.replace(target)

    def _receive_all(self, url: str, file: ModelFile, part: Path, progress: Progress) -> None:
        """Ask again from where it broke off, as long as each try brings something (and once more if it does not)."""
        drops = fruitless = 0
        while (before := max(size_of(part), 0)) < file.size:
            try:
                self._receive(url, file, part, before, progress)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                drops += 1
                fruitless = 0 if size_of(part) > before else fruitless + 1
                unreachable = fruitless > 0 and not isinstance(error, (httpx.ReadError, httpx.RemoteProtocolError))
                if unreachable or fruitless > 1 or drops > MAX_DROPS:
                    raise MirrorError(self._describe(error), down=unreachable) from error

    def _receive(self, url: str, file: ModelFile, part: Path, offset: int, progress: Progress) -> None:
        headers = {"range": f"bytes={offset}-"} if offset else {}
        with self._client.stream("GET", url, headers=headers) as response:
            offset = _accepted_offset(response, file, offset)
            with part.open("ab" if offset else "wb") as stream:
                for block in response.iter_raw(BLOCK):
                    offset += len(block)
                    if offset > file.size:
                        raise MirrorError(f"it sends more bytes than {file.stated_by} says")
                    stream.write(block)
                    progress.advance(len(block))
        if offset < file.size:
            raise httpx.RemoteProtocolError("the body ended early")

    def _describe(self, error: Exception) -> str:
        if isinstance(error, httpx.ConnectTimeout):
            return f"no connection within {self._timeouts.connect:g} s"
        if isinstance(error, httpx.TimeoutException):
            return f"no data within {self._timeouts.read:g} s"
        if isinstance(error, httpx.ConnectError):
            return f"no connection ({error})"
        return f"the transfer broke off ({error or type(error).__name__})"


def _accepted_offset(response: httpx.Response, file: ModelFile, offset: int) -> int:
    """Where the body of `response` belongs in the file: at `offset`, or at 0 when the server does not do ranges.

    A wrong length is caught here, before a byte is written: that is what a login page or an edited file looks like.
    """
    if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise MirrorError(f"it answers {response.status_code} {response.reason_phrase}".rstrip())
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        if not response.headers.get("content-range", "").startswith(f"bytes {offset}-"):
            raise MirrorError("it answers another range than was asked for")
    else:
        offset = 0
    length = response.headers.get("content-length", "")
    if length.isdigit() and offset + int(length) != file.size:
        raise MirrorError(f"it offers {offset + int(length)} bytes, {file.stated_by} says {file.size}")
    return offset
