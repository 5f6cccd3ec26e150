"""The AsyncAPI document, and live messages held against it while they pass through the server."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import jsonschema_rs
import pytest
import yaml

from app.protocols.sockets import Socket
from app.protocols.wyoming.events import Event
from app.protocols.wyoming.link import Link
from app.web.documents import DOCUMENT

Direction = Literal["receive", "send"]
"""As the document has it: the server's."""


class Document:
    """The document, by channel and direction."""

    def __init__(self) -> None:
        self.whole: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text("utf-8"))
        self._schemas = {
            name: jsonschema_rs.Draft7Validator({**message["payload"], "components": self.whole["components"]})
            for name, message in self.whole["components"]["messages"].items()
        }
        """`$ref` stands alone in a payload, so that what stands beside it is looked up and otherwise passed over."""
        self._operations: dict[tuple[str, str], list[str]] = {}
        for operation in self.whole["operations"].values():
            channel = str(operation["channel"]["$ref"]).rpartition("/")[2]
            names = [str(message["$ref"]).rpartition("/")[2] for message in operation["messages"]]
            self._operations[channel, operation["action"]] = names

    def names(self, channel: str, direction: Direction) -> list[str]:
        """The messages that a channel knows."""
        return self._operations[channel, direction]

    def takes_bytes(self, name: str) -> bool:
        """Whether a message is one of sound."""
        return self.whole["components"]["messages"][name].get("contentType") == "application/octet-stream"

    def fitting(self, channel: str, direction: Direction, message: object) -> list[str]:
        """The messages that this may be."""
        names = self.names(channel, direction)
        if isinstance(message, bytes):
            return [name for name in names if self.takes_bytes(name)]
        return [name for name in names if not self.takes_bytes(name) and self._schemas[name].is_valid(message)]

    def complaints(self, name: str, message: object) -> list[str]:
        """Why a message is not this one."""
        return [f"{list(error.instance_path)}: {error.message}" for error in self._schemas[name].iter_errors(message)]


@functools.cache
def document() -> Document:
    return Document()


@dataclass
class Recording:
    """What passed through the server. `strange` is what no message of the channel fits."""

    channel: str
    seen: set[str] = field(default_factory=set)
    strange: list[str] = field(default_factory=list)

    def add(self, direction: Direction, message: object) -> None:
        fitting = document().fitting(self.channel, direction, message)
        self.seen.update(fitting)
        if not fitting:
            shown = json.dumps(message, ensure_ascii=False, default=repr)[:2000]
            names = document().names(self.channel, direction)
            nearest = min(names, key=lambda name: len(document().complaints(name, message)))
            self.strange.append(f"{direction}: {shown}\n  no {nearest}: {document().complaints(nearest, message)}")


@contextlib.contextmanager
def recording(channel: str, *, clients: bool) -> Iterator[Recording]:
    """Everything that servers of this process send meanwhile, and what `clients` do."""
    recorded = Recording(channel)
    with pytest.MonkeyPatch.context() as patch:
        _record_sockets(patch, recorded, clients=clients)
        _record_links(patch, recorded, clients=clients)
        yield recorded


def _record_sockets(patch: pytest.MonkeyPatch, recorded: Recording, *, clients: bool) -> None:
    send, receive = Socket.send, Socket.receive

    async def send_recorded(self: Socket, message: dict[str, object]) -> None:
        recorded.add("send", json.loads(json.dumps(message)))
        await send(self, message)

    async def receive_recorded(self: Socket) -> str | bytes | None:
        message = await receive(self)
        if clients and message is not None:
            recorded.add("receive", json.loads(message) if isinstance(message, str) else message)
        return message

    patch.setattr(Socket, "send", send_recorded)
    patch.setattr(Socket, "receive", receive_recorded)


def _record_links(patch: pytest.MonkeyPatch, recorded: Recording, *, clients: bool) -> None:
    send, received = Link.send, Link.received

    async def send_recorded(self: Link, *events: Event) -> None:
        for event in events:
            recorded.add("send", json.loads(json.dumps(_plain(event))))
        await send(self, *events)

    def received_recorded(self: Link) -> Event | None:
        event = received(self)
        if clients and event is not None:
            recorded.add("receive", _plain(event))
        return event

    patch.setattr(Link, "send", send_recorded)
    patch.setattr(Link, "received", received_recorded)


def _plain(event: Event) -> dict[str, object]:
    return {"type": event.type, "data": dict(event.data)}
