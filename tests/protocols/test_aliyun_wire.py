"""Commands of Alibaba Cloud's protocol, also such as nobody sends."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from app.domain import errors
from app.protocols.aliyun.errors import failure_of
from app.protocols.aliyun.wire import (
    MOST_CHARACTERS,
    RECOGNIZER,
    TRANSCRIBER,
    Command,
    Status,
    TaskFailure,
    failed,
    read_command,
    task_id_of,
)

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = {
    "task_id": ANY | st.text(max_size=200),
    "namespace": st.sampled_from(["SpeechTranscriber", "SpeechRecognizer"]) | ANY,
    "name": st.sampled_from(["StartTranscription", "StopRecognition", "ControlTranscriber"]) | ANY,
}
NEARLY = st.fixed_dictionaries(
    {}, optional={"header": st.fixed_dictionaries({}, optional=FIELDS) | ANY, "payload": ANY}
)


@given(NEARLY | ANY)
def test_any_json_is_a_command_or_a_failure(message: object) -> None:
    _read(json.dumps(message))


@given(st.text())
def test_any_text_is_a_command_or_a_failure(text: str) -> None:
    _read(text)


def _read(text: str) -> None:
    assert len(task_id_of(text)) <= 128
    try:
        command = read_command(text)
    except TaskFailure as failure:
        assert failure.status in {Status.MESSAGE_INVALID, Status.DIRECTIVE_INVALID}
    else:
        assert command.task_id == task_id_of(text)
        assert isinstance(command.payload, dict)


def test_a_command_is_read() -> None:
    header = {"namespace": "SpeechRecognizer", "name": "StartRecognition", "task_id": "one", "appkey": "any"}
    text = json.dumps({"header": header, "payload": {"format": "pcm"}, "context": {"sdk": {"name": "any"}}})
    assert read_command(text) == Command(RECOGNIZER, "StartRecognition", "one", {"format": "pcm"})
    del header["task_id"]
    assert read_command(json.dumps({"header": header})) == Command(RECOGNIZER, "StartRecognition", "")


def test_a_command_is_not_endless() -> None:
    text = json.dumps({"header": {"namespace": TRANSCRIBER.namespace, "name": TRANSCRIBER.start}})
    assert read_command(text + " " * (MOST_CHARACTERS - len(text))).name == "StartTranscription"
    try:
        read_command(text + " " * MOST_CHARACTERS)
    except TaskFailure as failure:
        assert failure.status is Status.MESSAGE_INVALID
    else:
        raise AssertionError


def test_every_error_there_is_has_a_status() -> None:
    def leaves(kind: type[errors.SpeechError]) -> list[type[errors.SpeechError]]:
        return [kind] + [leaf for below in kind.__subclasses__() for leaf in leaves(below)]

    for kind in leaves(errors.SpeechError):
        error = kind("Told.", retry_after=1.0) if issubclass(kind, errors.Overloaded) else kind("Told.")
        failure = failure_of(error)
        mendable = isinstance(error, errors.RequestError | errors.Overloaded)
        assert str(failure.status.value)[0] == ("4" if mendable else "5"), kind
        header = failed("one", failure)["header"]
        assert isinstance(header, dict)
        assert (header["namespace"], header["name"], header["task_id"]) == ("Default", "TaskFailed", "one")
        assert header["status_text"] == f"Gateway:{failure.status.name}:{error.message}"
        assert header["status_message"] == f"GATEWAY|{failure.status.name}|{error.message}"
