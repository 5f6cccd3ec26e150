"""Each dialect's client against a server that says what the protocol's documents say it does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
import pytest
from scripted_server import Json, Script, serving

from tools.dialects import DIALECTS, said
from tools.dialects.hearing import Heard, Said, StreamFailedError, UnspeakableError, Wishes

SOUND = np.arange(8_000, dtype=np.int16)
"""Half a second."""
ALL = Wishes(language="zh", model="m", hotwords=("阿里", "new york"), token="key", silence=500, speakers=True)


def heard(protocol: str, script: Script, wishes: Wishes | None = None) -> Heard:
    async def talk() -> Heard:
        async with serving(script) as url:
            return await said(protocol, url, SOUND, None, wishes, patience=5)

    return asyncio.run(talk())


def facts(events: Sequence[Said]) -> list[tuple[object, ...]]:
    """What was said, without when."""
    return [(one.kind, one.index, one.text, one.start, one.end) for one in events]


def nls(name: str, payload: Json | None = None, status: int = 20000000) -> Json:
    header = {"namespace": "SpeechTranscriber", "name": name, "status": status, "task_id": "t", "status_text": name}
    return {"header": header} | ({"payload": payload} if payload else {})


def test_aliyun() -> None:
    def answer(message: Json | bytes) -> list[Json]:
        if isinstance(message, bytes):
            return []
        if message["header"]["name"] == "StartTranscription":
            return [nls("TranscriptionStarted", {"session_id": "s"})]
        words = [{"text": "你好", "startTime": 100, "endTime": 400}]
        return [
            nls("SentenceBegin", {"index": 1, "time": 100}),
            nls("TranscriptionResultChanged", {"index": 1, "time": 300, "result": "你"}),
            nls("SentenceEnd", {"index": 1, "time": 500, "begin_time": 100, "result": "你好。", "words": words}),
            nls("TranscriptionCompleted"),
        ]

    script = Script(answer)
    told = heard("aliyun", script, ALL)

    assert facts(told.events) == [
        ("started", 1, "", 0.1, None),
        ("partial", 1, "你", 0.1, None),
        ("final", 1, "你好。", 0.1, 0.4),
    ]
    assert script.paths == ["/ws/v1/asr"]
    assert script.headers[0]["x-nls-token"] == "key"
    assert script.sound == SOUND.astype("<i2").tobytes()
    wanted = {"language": "zh", "model": "m", "hotwords": ["阿里", "new york"], "max_sentence_silence": 500}
    assert wanted.items() <= script.texts[0]["payload"].items()
    assert len(told.final_delays()) == len(told.first_delays()) == 1


def test_funasr() -> None:
    def answer(message: Json | bytes) -> list[Json]:
        if isinstance(message, bytes) or message["is_speaking"]:
            return []
        common = {"wav_name": "w", "is_final": False}
        sentence = common | {"mode": "2pass-offline", "text": "Hello you.", "timestamp": "[[100,300],[300,450]]"}
        return [
            common | {"mode": "2pass-online", "text": "Hello"},
            common | {"mode": "2pass-online", "text": " you"},
            sentence,
            common | {"mode": "2pass-offline", "text": "", "is_final": True},
        ]

    script = Script(answer)
    told = heard("funasr", script, Wishes(language="zh", hotwords=("阿里", "new york"), token="key"))

    assert facts(told.events) == [
        ("partial", 1, "Hello", None, None),
        ("partial", 1, "Hello you", None, None),
        ("final", 1, "Hello you.", 0.1, 0.45),
    ]
    assert json.loads(script.texts[0]["hotwords"]) == {"阿里": 20, "new york": 20}
    assert script.texts[0]["language"] == "zh"
    assert script.headers[0]["authorization"] == "Bearer key"


def test_qwen() -> None:
    def answer(message: Json | bytes) -> list[Json]:
        if isinstance(message, bytes):
            return []
        if message["type"] == "start":
            return [{"type": "started", "task_id": "t", "params": {}}]
        entry = {"text": "a", "current_segment_text": "a", "language": "", "chunk_id": 1, "is_partial": True}
        ended = {"text": "a.", "segment_text": "a.", "language": "English"}
        listed = [{"index": 0, "text": "a.", "reason": "silence"}, {"index": 1, "text": "b.", "reason": "final"}]
        return [
            {"type": "segment_start", "segment_index": 0},
            {"type": "result", "results": [entry | {"segment_index": 0}], "segment_index": 0},
            {"type": "segment_end", "segment_index": 0, "reason": "silence", "result": ended},
            {"type": "final", "result": {"text": "b.", "full_text": "a.\nb.", "segments": listed}},
        ]

    script = Script(answer)
    told = heard("qwen", script, ALL)

    assert [(one.kind, one.index, one.text) for one in told.events] == [
        ("started", 1, ""),
        ("partial", 1, "a"),
        ("final", 1, "a."),
        ("final", 2, "b."),
    ]
    assert script.texts[0]["payload"]["context"] == "阿里, new york"
    assert script.texts[0]["payload"]["max_sentence_silence"] == 500


def openai_answers(left: bool) -> Any:
    """With an utterance that is over while it is played, and one that is committed at the end (if `left`)."""

    def item(kind: str, number: int, **more: Any) -> Json:
        return {"type": kind, "item_id": f"item_{number}", **more}

    transcription = "conversation.item.input_audio_transcription"

    def answer(message: Json | bytes) -> list[Json]:
        assert not isinstance(message, bytes)
        if message["type"] == "session.update":
            return [{"type": "session.updated", "session": message["session"]}]
        if message["type"] == "input_audio_buffer.commit" and not left:
            error = {"type": "invalid_request_error", "code": "input_audio_buffer_commit_empty", "message": "empty"}
            return [{"type": "error", "error": error | {"event_id": message["event_id"]}}]
        if message["type"] == "input_audio_buffer.commit":
            return [
                item("input_audio_buffer.speech_started", 1, audio_start_ms=100),
                item("input_audio_buffer.speech_stopped", 1, audio_end_ms=300),
                item("input_audio_buffer.committed", 1),
                item(f"{transcription}.delta", 1, delta="one"),
                item("input_audio_buffer.committed", 2),
                item(f"{transcription}.segment", 1, text="one.", speaker="A", start=0.1, end=0.3),
                item(f"{transcription}.completed", 1, transcript="one."),
            ]
        if message["type"] == "input_audio_buffer.clear":
            last = [item(f"{transcription}.completed", 2, transcript="two.")] if left else []
            return [{"type": "input_audio_buffer.cleared"}, *last]
        return []

    return answer


def test_openai() -> None:
    script = Script(openai_answers(left=True), greeting=[{"type": "session.created", "session": {}}])
    told = heard("openai", script, ALL)

    assert facts(told.events) == [
        ("started", 1, "", 0.1, None),
        ("partial", 1, "one", 0.1, None),
        ("final", 1, "one.", 0.1, 0.3),
        ("final", 2, "two.", None, None),
    ]
    assert [one.speaker for one in told.sentences] == ["A", None]
    assert script.paths == ["/v1/realtime?intent=transcription"]
    speakers = {"enable_speaker_diarization": True}
    listening = script.texts[0]["session"]["audio"]["input"]
    assert listening["transcription"] == {"model": "m", "language": "zh", "keywords": ["阿里", "new york"]} | speakers
    assert listening["turn_detection"] == {"type": "server_vad", "silence_duration_ms": 500}
    sent = b"".join(base64.b64decode(one["audio"]) for one in script.texts if one["type"].endswith("append"))
    assert len(sent) // 2 == len(SOUND) * 3 // 2, "all of it, at 24 kHz"


def test_openai_with_nothing_left_to_commit() -> None:
    script = Script(openai_answers(left=False), greeting=[{"type": "session.created", "session": {}}])

    assert heard("openai", script).texts == []


def test_vllm() -> None:
    def answer(message: Json | bytes) -> list[Json]:
        assert not isinstance(message, bytes)
        if message.get("final"):
            deltas = [{"type": "transcription.delta", "delta": delta} for delta in ("one", " two")]
            return [*deltas, {"type": "transcription.done", "text": "one two", "usage": {}}]
        return []

    script = Script(answer, greeting=[{"type": "session.created", "id": "sess-1", "created": 1}])
    told = heard("vllm", script, Wishes(language="zh", model="m", hotwords=("a", "b"), token="key"))

    assert [(one.kind, one.text) for one in told.events] == [
        ("partial", "one"),
        ("partial", "one two"),
        ("final", "one two"),
    ]
    assert script.texts[0] == {"type": "session.update", "model": "m", "language": "zh", "hotwords": "a, b"}
    assert script.texts[1] == {"type": "input_audio_buffer.commit"}
    sent = b"".join(base64.b64decode(one["audio"]) for one in script.texts if one["type"].endswith("append"))
    assert sent == SOUND.astype("<i2").tobytes()


def test_oddasr_with_somebody_who_says_end() -> None:
    def result(name: str, index: int, text: str, fin: int) -> Json:
        payload = {"index": index, "time": 400, "begin_time": 100, "end_time": 400, "result": text, "fin": fin}
        return {"header": {"name": name, "status": 0, "status_text": ""}, "payload": payload}

    def answer(message: Json | bytes) -> list[Json]:
        if isinstance(message, bytes):
            return []
        if message["name"] == "StartTranscription":
            return [result("SentenceBegin", 0, "", 1)]
        spoken = [result("TranscriptionResultChanged", 1, "en", 0), result("SentenceEnd", 1, "END", 1)]
        return [*spoken, result("SentenceEnd", 1, "END", 1)]

    script = Script(answer)
    told = heard("oddasr", script, ALL)

    assert facts(told.events) == [("partial", 1, "en", 0.1, None), ("final", 1, "END", 0.1, 0.4)]
    assert script.texts[0]["token"] == "key"
    assert script.texts[0]["hotwords"] == ["阿里", "new york"]


def test_wyoming() -> None:
    got: list[tuple[str, Json, bytes]] = []

    async def read(reader: asyncio.StreamReader) -> tuple[str, Json, bytes] | None:
        if not (line := await reader.readline()):
            return None
        head = json.loads(line)
        data = json.loads(await reader.readexactly(head.get("data_length", 0)) or b"{}")
        return head["type"], data, await reader.readexactly(head.get("payload_length", 0))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while event := await read(reader):
            got.append(event)
            if event[0] == "audio-stop":
                chunk = {"type": "transcript-chunk", "data": {"text": "one"}}
                body = json.dumps({"text": "one."}).encode()
                last = {"type": "transcript", "data_length": len(body)}
                writer.write(json.dumps(chunk).encode() + b"\n" + json.dumps(last).encode() + b"\n" + body)
        writer.close()

    async def talk() -> Heard:
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            wishes = Wishes(language="zh", model="m", hotwords=("阿里",))
            return await said("wyoming", url, SOUND, None, wishes, patience=5)

    told = asyncio.run(talk())
    assert [(one.kind, one.text) for one in told.events] == [("partial", "one"), ("final", "one.")]
    assert got[0][:2] == ("transcribe", {"name": "m", "language": "zh", "transcript_terms": ["阿里"]})
    assert got[1][:2] == ("audio-start", {"rate": 16000, "width": 2, "channels": 1})
    assert b"".join(payload for _, _, payload in got) == SOUND.astype("<i2").tobytes()


REFUSALS: dict[str, tuple[list[Json], list[Json], int | str]] = {
    "aliyun": ([], [nls("TaskFailed", status=40000001)], 40000001),
    "funasr": ([], [{"mode": "2pass", "error": {"code": "BUSY", "message": "later"}, "is_final": False}], "BUSY"),
    "qwen": ([], [{"type": "error", "error_code": "INVALID_STATE", "message": "no"}], "INVALID_STATE"),
    "openai": (
        [{"type": "session.created"}],
        [{"type": "error", "error": {"type": "invalid_request_error", "code": "bad", "message": "no"}}],
        "bad",
    ),
    "vllm": (
        [{"type": "session.created"}],
        [{"type": "error", "error": "no such model", "code": "model_not_found"}],
        "model_not_found",
    ),
    "oddasr": ([], [{"header": {"name": "StartTranscription", "status": 10020001, "status_text": "no"}}], 10020001),
}


@pytest.mark.parametrize("protocol", REFUSALS)
def test_a_refusal_is_told_with_the_servers_own_code(protocol: str) -> None:
    greeting, answers, status = REFUSALS[protocol]
    with pytest.raises(StreamFailedError) as failed:
        heard(protocol, Script(lambda _: answers, greeting))
    assert failed.value.status == status


@pytest.mark.parametrize("protocol", REFUSALS)
def test_a_server_that_hangs_up_leaves_nobody_waiting(protocol: str) -> None:
    with pytest.raises(StreamFailedError, match="ended"):
        heard(protocol, Script(lambda _: None, REFUSALS[protocol][0]))


@pytest.mark.parametrize("protocol", REFUSALS)
def test_a_refused_connection_is_told_by_its_http_status(protocol: str) -> None:
    with pytest.raises(StreamFailedError) as failed:
        heard(protocol, Script(lambda _: [], refuse=HTTPStatus.UNAUTHORIZED))
    assert failed.value.status == 401


@pytest.mark.parametrize("protocol", REFUSALS)
def test_what_is_no_message_of_the_protocol_is_a_failure(protocol: str) -> None:
    with pytest.raises(StreamFailedError, match="cannot read"):
        heard(protocol, Script(lambda _: [{"nonsense": 1}], [{"nonsense": 1}]))


@pytest.mark.parametrize("protocol", DIALECTS)
def test_nobody_there_is_unreachable(protocol: str) -> None:
    with pytest.raises(StreamFailedError) as failed:
        asyncio.run(said(protocol, "http://127.0.0.1:1", SOUND))
    assert failed.value.status == "unreachable"


@pytest.mark.parametrize(
    ("protocol", "wishes", "word"),
    [
        ("funasr", Wishes(silence=500), "silence"),
        ("vllm", Wishes(silence=500), "silence"),
        ("wyoming", Wishes(token="key"), "token"),
    ],
)
def test_what_a_protocol_cannot_say_is_refused_and_not_left_out(protocol: str, wishes: Wishes, word: str) -> None:
    with pytest.raises(UnspeakableError, match=word):
        asyncio.run(said(protocol, "http://127.0.0.1:1", SOUND, None, wishes))


def test_sound_is_played_at_the_pace_that_is_asked_for() -> None:
    async def talk() -> Heard:
        script = Script(lambda one: [] if isinstance(one, bytes) or one["is_speaking"] else [last])
        last = {"mode": "2pass-offline", "text": "", "is_final": True}
        async with serving(script) as url:
            return await said("funasr", url, SOUND, 2.0)

    told = asyncio.run(talk())
    begun = told.frames[0].due - 0.05
    assert [frame.due - begun for frame in told.frames] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25])
    assert all(frame.sent >= frame.due - 0.01 for frame in told.frames), "a clock may be a little coarse"
    assert [frame.end for frame in told.frames] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_path_in_the_address_is_taken_as_it_is() -> None:
    script = Script(lambda _: None)

    async def talk() -> None:
        async with serving(script) as url:
            with contextlib.suppress(StreamFailedError):
                await said("aliyun", f"{url}/ws/v1?token=k", SOUND)

    asyncio.run(talk())
    assert script.paths == ["/ws/v1?token=k"]
