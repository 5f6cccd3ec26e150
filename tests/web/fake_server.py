"""The page with a server behind it that hears what it is told to: for what no model can be made to say or do.

It speaks Alibaba Cloud's, FunASR's and Qwen's live protocols by the sound's own clock, so that nothing depends on how
busy the machine is, and remembers what the page sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from protocols.served import served

from app.web import pages

BYTES_PER_SECOND = 32_000
SUCCESS, CLIENT_ERROR, TOKEN_INVALID = 20000000, 40000000, 40000001


@dataclass(frozen=True)
class Sentence:
    """What is "heard" between two moments of the sound, in seconds."""

    text: str
    start: float
    end: float
    speaker: str | None = None

    @property
    def parts(self) -> list[str]:
        """Its words; its characters, where it has no spaces."""
        return self.text.split() if " " in self.text else list(self.text)

    def so_far(self, moment: float) -> str:
        share = (moment - self.start) / (self.end - self.start)
        count = max(1, min(len(self.parts), round(share * len(self.parts))))
        return (" " if " " in self.text else "").join(self.parts[:count])

    def words(self) -> list[tuple[str, float, float]]:
        step = (self.end - self.start) / len(self.parts)
        bare = [part.strip(".,!?。，！？") for part in self.parts]
        return [(word, self.start + at * step, self.start + (at + 1) * step) for at, word in enumerate(bare) if word]


ENGLISH = [
    Sentence("Good morning, everybody.", 0.4, 1.2),
    Sentence("Shall we begin?", 1.6, 2.4),
]
ANSWER: dict[str, Any] = {
    "duration": 4.0,
    "model": "first-model",
    "segments": [
        {"start": 0.5, "end": 1.5, "text": "Hello there.", "speaker": "Speaker1"},
        {"start": 2.0, "end": 3.0, "text": "Hello yourself.", "speaker": "Speaker2"},
    ],
    "words": [
        {"word": "Hello", "start": 0.5, "end": 0.9},
        {"word": "there", "start": 1.0, "end": 1.5},
        {"word": "Hello", "start": 2.0, "end": 2.4},
        {"word": "yourself", "start": 2.5, "end": 3.0},
    ],
}
"""An upload's answer."""


@dataclass
class FakeServer:
    """What it says, and what it was sent.

    `key` None: nobody needs one. Sentences in `unsaid` (counted from 1) end without words. A `refusal` is all that a
    live client is told. `slow` is how many seconds an upload is thought about. `speakers`: it says that it tells
    speakers apart.
    """

    script: list[Sentence] = field(default_factory=lambda: ENGLISH)
    key: str | None = None
    ready: bool = True
    hang_up_after: float | None = None
    unsaid: set[int] = field(default_factory=set)
    refusal: str = ""
    slow: float = 0.0
    speakers: bool = True
    models: list[str] = field(default_factory=lambda: ["first-model", "second-model"])
    answer: dict[str, Any] = field(default_factory=lambda: ANSWER)
    port: int = 0
    starts: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    uploads: list[dict[str, str]] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def seconds(self) -> float:
        """How much sound arrived."""
        return sum(map(len, self.frames)) / BYTES_PER_SECOND

    def allows(self, presented: str | None) -> bool:
        return self.key is None or presented == self.key


@contextlib.contextmanager
def fake_server(lists: contextlib.AbstractContextManager[FastAPI] | None = None, **what: Any) -> Iterator[FakeServer]:
    """It, on a free port. `lists`: an application that stores lists of words; without it, there are none."""
    fake = FakeServer(**what)
    with lists or contextlib.nullcontext(FastAPI(title="Fake server", version="0")) as app:
        app.include_router(pages.router)
        _add_http(app, fake)
        _add_sockets(app, fake)
        if lists is None:
            _add_no_lists(app)
        with served(app) as fake.port:
            yield fake


def _add_no_lists(app: FastAPI) -> None:
    @app.get("/v1/vocabularies")
    async def vocabularies() -> dict[str, Any]:
        return {"object": "list", "data": []}


def _add_http(app: FastAPI, fake: FakeServer) -> None:
    @app.get("/health/ready")
    async def ready() -> JSONResponse:
        state = {"status": "ready", "reason": None} if fake.ready else {"status": "loading", "reason": "Still loading."}
        return JSONResponse(state, 200 if fake.ready else 503)

    @app.get("/health")
    async def health() -> dict[str, bool]:
        return {"speakers": fake.speakers}

    @app.get("/v1/models")
    async def models(request: Request) -> JSONResponse:
        if not fake.allows(request.headers.get("authorization", "").removeprefix("Bearer ") or None):
            return _error(401, "A valid API key is needed.")
        return JSONResponse({"object": "list", "data": [{"id": name} for name in fake.models]})

    @app.post("/v1/audio/transcriptions")
    async def transcribe(request: Request) -> JSONResponse:
        async with request.form() as form:
            said = {name: value for name, value in form.multi_items() if isinstance(value, str)}
            sent = form["file"]
            assert not isinstance(sent, str)
            fake.uploads.append(said | {"bytes": str(len(await sent.read())), "name": str(sent.filename)})
        if not fake.allows(request.headers.get("authorization", "").removeprefix("Bearer ") or None):
            return _error(401, "A valid API key is needed.")
        await asyncio.sleep(fake.slow)
        return JSONResponse(fake.answer)


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status)


def _add_sockets(app: FastAPI, fake: FakeServer) -> None:
    @app.websocket("/ws/v1/asr")
    async def aliyun(websocket: WebSocket) -> None:
        await _converse(websocket, fake, _Aliyun(websocket, fake))

    @app.websocket("/ws/funasr")
    async def funasr(websocket: WebSocket) -> None:
        await _converse(websocket, fake, _FunAsr(websocket, fake))

    @app.websocket("/ws/v1/asr/qwen")
    async def qwen(websocket: WebSocket) -> None:
        await _converse(websocket, fake, _Qwen(websocket, fake))


async def _converse(websocket: WebSocket, fake: FakeServer, face: _Aliyun | _FunAsr | _Qwen) -> None:
    await websocket.accept()
    fake.queries.append(dict(websocket.query_params))
    fake.frames.clear()
    with contextlib.suppress(WebSocketDisconnect, asyncio.CancelledError):
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                await face.told(json.loads(message["text"]))
                continue
            fake.frames.append(message["bytes"])
            if fake.hang_up_after is not None and fake.seconds >= fake.hang_up_after:
                await websocket.close(1011, "gone")
                return
            await face.hear(fake.seconds)


class _Aliyun:
    def __init__(self, websocket: WebSocket, fake: FakeServer) -> None:
        self._websocket = websocket
        self._fake = fake
        self._task = ""
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._shown: dict[int, str] = {}

    async def told(self, message: dict[str, Any]) -> None:
        header = message["header"]
        self._task = header["task_id"]
        if header["name"] == "StartTranscription":
            self._fake.starts.append(message["payload"])
            if not self._fake.allows(self._websocket.query_params.get("token")):
                await self._say("TaskFailed", status=TOKEN_INVALID, status_text="Gateway:ACCESS_DENIED:invalid token")
                await self._websocket.close(1000)
                return
            if self._fake.refusal:
                await self._say("TaskFailed", status=CLIENT_ERROR, status_text=self._fake.refusal)
                return
            await self._say("TranscriptionStarted", {"session_id": "session"})
        elif header["name"] == "StopTranscription":
            await self.hear(float("inf"))
            await self._say("TranscriptionCompleted")
            await self._websocket.close(1000)

    async def hear(self, moment: float) -> None:
        now = min(moment, self._fake.seconds)
        for index, sentence in enumerate(self._fake.script, 1):
            if sentence.start > now or index in self._ended:
                continue
            if index not in self._begun:
                self._begun.add(index)
                await self._say("SentenceBegin", {"index": index, "time": round(sentence.start * 1000)})
            text = sentence.so_far(now)
            if self._shown.get(index) != text:
                self._shown[index] = text
                changed = {"index": index, "time": round(now * 1000), "result": text}
                await self._say("TranscriptionResultChanged", changed)
            if now >= sentence.end or moment == float("inf"):
                self._ended.add(index)
                await self._say("SentenceEnd", self._end(index, sentence))

    def _end(self, index: int, sentence: Sentence) -> dict[str, Any]:
        wanted = self._fake.starts[-1]["enable_words"]
        words = [
            {"text": text, "startTime": round(start * 1000), "endTime": round(end * 1000)}
            for text, start, end in sentence.words()
        ]
        body = {"index": index, "time": round(sentence.end * 1000), "begin_time": round(sentence.start * 1000)}
        speaker = {} if sentence.speaker is None else {"speaker": sentence.speaker}
        text = "" if index in self._fake.unsaid else sentence.text
        return body | {"result": text, "words": words if wanted else []} | speaker

    async def _say(self, name: str, payload: dict[str, Any] | None = None, **header: Any) -> None:
        full = {"namespace": "SpeechTranscriber", "name": name, "status": SUCCESS, "task_id": self._task} | header
        await self._websocket.send_json({"header": full} | ({} if payload is None else {"payload": payload}))


class _FunAsr:
    def __init__(self, websocket: WebSocket, fake: FakeServer) -> None:
        self._websocket = websocket
        self._fake = fake
        self._ended: set[int] = set()
        self._shown: dict[int, str] = {}

    async def told(self, message: dict[str, Any]) -> None:
        if message["is_speaking"]:
            self._fake.starts.append(message)
            return
        await self.hear(float("inf"))
        await self._say("2pass-offline", "", is_final=True)

    async def hear(self, moment: float) -> None:
        now = min(moment, self._fake.seconds)
        for index, sentence in enumerate(self._fake.script):
            if sentence.start > now or index in self._ended:
                continue
            text, shown = sentence.so_far(now), self._shown.get(index, "")
            if text != shown:
                self._shown[index] = text
                await self._say("2pass-online", text.removeprefix(shown))
            if now >= sentence.end or moment == float("inf"):
                self._ended.add(index)
                await self._say("2pass-offline", sentence.text, **_stamps(sentence))

    async def _say(self, mode: str, text: str, **more: Any) -> None:
        await self._websocket.send_json({"mode": mode, "text": text, "wav_name": "page", "is_final": False} | more)


def _stamps(sentence: Sentence) -> dict[str, Any]:
    pairs = [[round(start * 1000), round(end * 1000)] for _, start, end in sentence.words()]
    stamped = {
        "text_seg": " ".join(text for text, _, _ in sentence.words()),
        "punc": sentence.text[-1],
        "start": pairs[0][0],
        "end": pairs[-1][1],
        "ts_list": pairs,
    }
    speaker = {} if sentence.speaker is None else {"spk": 0, "spk_name": sentence.speaker}
    return {"timestamp": json.dumps(pairs), "stamp_sents": [stamped]} | speaker


class _Qwen:
    """A sentence is a segment; the last one comes with the final message."""

    def __init__(self, websocket: WebSocket, fake: FakeServer) -> None:
        self._websocket = websocket
        self._fake = fake
        self._ended: set[int] = set()
        self._said: list[str] = []
        self._shown = ""
        self._chunks = 0

    async def told(self, message: dict[str, Any]) -> None:
        if message["type"] == "start":
            self._fake.starts.append(message["payload"])
            if not self._fake.allows(self._websocket.query_params.get("token")):
                await self._refuse("AUTHENTICATION_FAILED", "A valid API key is needed.", 1008)
            elif self._fake.refusal:
                await self._refuse("INVALID_PARAMETER", self._fake.refusal, 1000)
            else:
                await self._say("started", params=message["payload"])
            return
        await self.hear(float("inf"))
        await self._websocket.close(1000)

    async def hear(self, moment: float) -> None:
        now = min(moment, self._fake.seconds)
        last: Sentence | None = None
        for number, sentence in enumerate(self._fake.script, 1):
            if sentence.start > now or number in self._ended:
                continue
            await self._show(sentence.so_far(now), sentence)
            if now < sentence.end and moment == float("inf"):
                last = sentence
            elif now >= sentence.end:
                self._ended.add(number)
                await self._end("" if number in self._fake.unsaid else sentence.text, sentence)
        if moment == float("inf"):
            await self._finish(last)

    async def _show(self, text: str, sentence: Sentence) -> None:
        if text == self._shown:
            return
        self._shown = text
        self._chunks += 1
        result = {"text": "\n".join([*self._said, text]), "current_segment_text": text, "language": "English"}
        result |= {"chunk_id": self._chunks, "is_partial": True, "start": sentence.start}
        count = len(self._said)
        results = [result | {"segment_index": count}]
        await self._say("result", results=results, segment_index=count, confirmed_segments_count=count)

    async def _end(self, text: str, sentence: Sentence) -> None:
        if not text:
            await self._show("", sentence)
        index, self._shown, self._chunks = len(self._said), "", 0
        if not text:
            return
        self._said.append(text)
        result = {"text": "\n".join(self._said), "segment_text": text, "language": "English"} | self._details(sentence)
        await self._say("segment_end", segment_index=index, reason="silence", result=result, confirmed_texts=self._said)
        await self._say("segment_start", segment_index=index + 1)

    async def _finish(self, last: Sentence | None) -> None:
        """With what was not over, if anything was not."""
        texts = [*self._said, *([last.text] if last else [])]
        segments = [{"index": index, "text": text, "reason": "silence"} for index, text in enumerate(texts)]
        result = {"text": last.text if last else "", "full_text": "\n".join(texts), "language": "English"}
        result |= {"total_chunks": self._chunks, "total_segments": len(texts), "segments": segments}
        await self._say("final", result=result | (self._details(last) if last else {}))

    def _details(self, sentence: Sentence) -> dict[str, Any]:
        words = [{"text": text, "start": start, "end": end} for text, start, end in sentence.words()]
        wanted = self._fake.starts[-1]["word_timestamps"]
        speaker = {} if sentence.speaker is None else {"speaker": sentence.speaker, "turns": _turns(sentence)}
        return {"start": sentence.start, "end": sentence.end} | ({"words": words} if wanted else {}) | speaker

    async def _refuse(self, code: str, message: str, closed: int) -> None:
        await self._say("error", error_code=code, message=message, timestamp="2026-01-01T00:00:00Z", details={})
        await self._websocket.close(closed)

    async def _say(self, kind: str, **fields: Any) -> None:
        await self._websocket.send_json({"type": kind, "task_id": "task"} | fields)


def _turns(sentence: Sentence) -> list[dict[str, Any]]:
    """Its speaker's, and after a dash somebody else's."""
    texts = sentence.text.split(" – ")
    step = (sentence.end - sentence.start) / len(texts)
    starts = [sentence.start + place * step for place in range(len(texts))]
    return [
        {"text": text, "start": start, "end": start + step, "speaker": speaker}
        for text, start, speaker in zip(texts, starts, [sentence.speaker, "Somebody"], strict=False)
    ]
