"""One life of a vLLM process: started in a session of its own, with a socket to it, and ended with all that is its."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import app
from app.domain.errors import EngineFailure
from app.engines.qwen3 import channel

_logger = logging.getLogger(__name__)

START_SECONDS = 900.0
"""More than weights take from a slow disk, and vLLM to warm up a large GPU."""
_END_SECONDS = 30.0
"""For a killed process to let go of a GPU's memory: longer than its parent takes to be gone."""
_SECRET = frozenset({"API_KEYS", "APPTOKEN", "API_KEY", "ADMIN_KEYS"})
_TAIL = 200
"""Lines of vLLM's own log that are kept to tell a failure by."""
_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|MemoryError|memory for the cache blocks|free memory on device|cannot allocate",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start: vLLM's engine arguments, its `runner` ("generate", "pooling"), and the process's environment.

    `warm_up` is a first question, to be asked with a second of silence. `timestamp` is the token at which an aligner is
    asked for a time.
    """

    name: str
    engine: Mapping[str, object]
    warm_up: Mapping[str, object]
    runner: str = "generate"
    timestamp: int = 0
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


class Spawned:
    """A process and the socket to it.

    Raises:
        EngineFailure: the system gave no process.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ended = False
        self._tail: deque[str] = deque(maxlen=_TAIL)
        try:
            self.socket, theirs = socket.socketpair()
            with theirs:
                self._process = self._popen(theirs)
        except OSError as error:
            raise EngineFailure(f"vLLM could not start {plan.name}: {error.strerror}") from error
        self._reading = threading.Thread(target=self._read, name=f"{plan.name} log", daemon=True)
        self._reading.start()

    @property
    def pid(self) -> int:
        """The process's id, which is its group's, too."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Tell the process what to start, and wait for it. Blocking.

        Raises:
            EngineFailure: it could not be started.
        """
        name = self._plan.name
        plan = {
            "engine": dict(self._plan.engine),
            "runner": self._plan.runner,
            "timestamp": self._plan.timestamp,
            "warm_up": dict(self._plan.warm_up),
        }
        self.socket.settimeout(START_SECONDS)
        try:
            self.socket.sendall(channel.packed(plan))
            said = channel.receive_blocking(self.socket)
        except TimeoutError:
            raise EngineFailure(f"vLLM did not start {name} within {START_SECONDS:.0f} s.") from None
        except OSError as error:
            raise EngineFailure(f"vLLM could not start {name}: it died at once.") from error
        if said is None or "ready" not in said:
            self.end()  # its last words are in the log now
            reason = "it ran out of memory" if self.ran_out_of_memory else (said or {}).get("failed", "it died")
            raise EngineFailure(f"vLLM could not start {name}: {reason}")
        self.socket.settimeout(None)

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the process said so."""
        return any(_MEMORY.search(line) for line in list(self._tail))

    def end(self) -> None:
        """Kill all of the process's group, and wait until it has gone: it may hold a GPU's memory. Blocking."""
        if self._ended:  # another group may have its number by now
            return
        self._ended = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + _END_SECONDS
        while _runs(self.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._reading.join(1.0)
        self.socket.close()

    def _popen(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "app.engines.qwen3.host", str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(self._plan),
            )
        except OSError:
            self.socket.close()
            raise

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        with self._process.stdout as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                self._tail.append(text)
                _logger.debug("%s: %s", self._plan.name, text)


def _runs(group: int) -> bool:
    """Whether any process of a group is left, but for those that have ended and wait for a parent that never looks."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-group, os.WNOHANG)  # adopted ones, where this is a container's first process
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    stats = [_stat(folder) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return not stats or any(fields[2] == str(group) and fields[0] != "Z" for fields in stats if len(fields) > 2)


def _stat(folder: Path) -> list[str]:
    """A process's state, parent and group, as /proc has them."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return []


def _environment(plan: Plan) -> dict[str, str]:
    """This process's own, with what vLLM is told by variables. It is never to open a connection: all is on disk."""
    root = str(Path(app.__file__).parents[1])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",  # or it finds its address by a datagram socket to a public one
        "VLLM_LOGGING_LEVEL": "WARNING",
        "TOKENIZERS_PARALLELISM": "false",
    }
    own = {name: value for name, value in os.environ.items() if name.upper() not in _SECRET}
    return {**own, **quiet, "PYTHONPATH": path, **plan.environment}
