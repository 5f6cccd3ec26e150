"""Whatever a stream says, and whenever a client commits and clears: each item has its own words, once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from live_service import final
from openai_server import ABLE

from app.audio.declared import DeclaredSound
from app.domain.errors import EngineFailure
from app.domain.events import Cleared, Closed, Committed, Partial, SpeechStarted, SpeechStopped, StreamEvent
from app.domain.options import LiveOptions, RecognitionOptions
from app.protocols.openai.realtime.items import Conversation
from app.protocols.openai.realtime.narration import Narration
from app.protocols.openai.realtime.plan import Plan

TURNS = Plan(ABLE, RecognitionOptions(), LiveOptions(), DeclaredSound("s16le", 24_000), manual=False, prefix=0.0)
COMMITS = replace(TURNS, manual=True)
STEPS = st.lists(
    st.sampled_from(["speak", "speak", "speak", "stop", "final", "commit", "clear", "restart"]), max_size=60
)


@dataclass
class Core:
    """A stream as the core has it, and what a client must be told of it. Utterance 7 says "a7 b7 c7"."""

    conversation: Conversation
    plan: Plan
    told: list[dict[str, Any]] = field(default_factory=list)
    time: float = 0.0
    base: int = 0
    count: int = 0
    current: int | None = None
    partials: int = 0
    over: list[int] = field(default_factory=list)
    said: list[int] = field(default_factory=list)
    expected: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.narration = Narration(self.conversation, self.plan)

    def emit(self, event: StreamEvent) -> None:
        self.told += self.narration.tell(event)

    def text(self, index: int) -> str:
        name = self.base + index
        return f"a{name} b{name} c{name}"

    def step(self, what: str) -> None:
        self.time += 1.0
        getattr(self, what)()

    def speak(self) -> None:
        if self.current is None:
            self.count += 1
            self.current, self.partials = self.count, 0
            self.emit(SpeechStarted(self.count, self.time))
            self.said.append(self.base + self.count)
        elif not self.over:
            self.partials = min(self.partials + 1, 2)
            stable = " ".join(self.text(self.current).split()[: self.partials])
            self.emit(Partial(self.current, self.time, self.time, stable, stable))

    def stop(self) -> None:
        if self.current is not None:
            index, self.current = self.current, None
            self.over.append(index)
            self.emit(SpeechStopped(index, self.time, self.time))
            if not self.plan.manual:
                self.expected.append([self.base + index])

    def final(self) -> None:
        if self.over:
            index = self.over.pop(0)
            self.emit(final(index, self.time - 1, self.time, self.text(index)))

    def commit(self) -> None:
        self.narration.expect_commit("mine")
        ended = self.current is not None
        self.stop()
        self.emit(Committed(self.count, ended, self.time))
        if self.plan.manual:
            self.expected.append(self.said)
            self.said = []

    def clear(self) -> None:
        index, self.current = self.current, None
        self.said = []
        self.emit(Cleared(index, self.time))

    def restart(self) -> None:
        """As where settings change."""
        self.stop()
        while self.over:
            self.final()
        self.emit(Closed(self.time))
        self.base, self.count, self.time = self.base + self.count, 0, 0.0
        self.narration = Narration(self.conversation, self.plan)


def of(told: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in told if one["type"].endswith(kind)]


def played(steps: list[str], plan: Plan) -> Core:
    core = Core(Conversation(flat=False), plan)
    for what in steps:
        core.step(what)
    core.restart()
    return core


def check(core: Core) -> None:
    committed = [one["item_id"] for one in of(core.told, "buffer.committed")]
    completed = {one["item_id"]: one["transcript"] for one in of(core.told, ".completed")}
    assert len(of(core.told, ".completed")) == len(completed) == len(committed), "one text for every item, and no other"
    texts = [" ".join(f"a{name} b{name} c{name}" for name in names) for names in core.expected]
    assert [completed[item] for item in committed] == texts
    previous = [one["previous_item_id"] for one in of(core.told, "buffer.committed")]
    assert previous == [None, *committed][: len(committed)]
    for item, text in completed.items():
        assert "".join(one["delta"] for one in of(core.told, ".delta") if one["item_id"] == item) == text
        kinds = [one["type"] for one in core.told if one.get("item_id") == item]
        assert kinds[-1].endswith(".completed")
    assert all(one["usage"]["seconds"] >= 0 for one in of(core.told, ".completed"))


@given(STEPS)
def test_turns(steps: list[str]) -> None:
    core = played(steps, TURNS)

    check(core)
    started, stopped = of(core.told, "speech_started"), of(core.told, "speech_stopped")
    assert [one["item_id"] for one in of(core.told, "buffer.committed")] == [one["item_id"] for one in stopped]
    assert {one["item_id"] for one in stopped} <= {one["item_id"] for one in started}
    for error in of(core.told, "error"):
        assert error["error"]["code"] == "input_audio_buffer_commit_empty"


@given(STEPS)
def test_commits(steps: list[str]) -> None:
    core = played(steps, COMMITS)

    check(core)
    assert len(of(core.told, "buffer.committed")) == steps.count("commit")
    assert len(of(core.told, "cleared")) == steps.count("clear")
    assert not of(core.told, "error")
    assert not of(core.told, "speech_started")


@given(STEPS, st.sampled_from([TURNS, COMMITS]))
def test_what_fails_is_every_item_without_a_text(steps: list[str], plan: Plan) -> None:
    core = Core(Conversation(flat=False), plan)
    for what in steps:
        core.step(what)
    failed = [one["item_id"] for one in core.narration.failed(EngineFailure("It died."))]

    committed = {one["item_id"] for one in of(core.told, "buffer.committed")}
    completed = {one["item_id"] for one in of(core.told, ".completed")}
    assert len(failed) == len(set(failed))
    assert committed - completed <= set(failed)
    assert not completed & set(failed)
