"""OddASR's tasks on the wire: what they are called by, how they are, and what came of them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TypeAlias

from app.domain.transcript import Segment, Transcript
from app.protocols.labels import Label
from app.protocols.oddasr.rest.errors import OK
from app.protocols.oddasr.rest.layouts import LAYOUTS, Layout, drawn
from app.service.jobs.job import Drawing, Job, State

Json: TypeAlias = dict[str, object]

STATUSES: MappingProxyType[State, int] = MappingProxyType(
    {"queued": 0, "running": 1, "succeeded": 2, "failed": 3, "cancelled": 3}
)
"""OddASR's numbers: it waits, is worked on, is done, or came to nothing."""
CANCELLED = "The task was cancelled."


def ok(data: Json) -> Json:
    """An answer of these routes."""
    return {"error_code": 0, "error_desc": OK, "data": data}


def layout_of(drawing: Drawing) -> Layout:
    """The layout that a task was asked for in."""
    by_name: dict[str, Layout] = {str(layout): layout for layout in LAYOUTS}
    return by_name.get(str(drawing.get("layout")), LAYOUTS[0])


def status_data(job: Job, transcript: Transcript | None, label: Label) -> Json:
    """How a task is; with its sentences where it is done. OddASR has task_id, status and texts."""
    progress = job.progress
    data: Json = {
        "task_id": job.id,
        "status": STATUSES[job.state],
        "texts": [] if transcript is None else _texts(transcript, label),
        "percent": 100.0 if job.state == "succeeded" else round(progress.share * 100, 1),
    }
    if progress.left is not None:
        data["seconds_left"] = round(progress.left, 1)
    if job.waits_for:
        data["waits_for"] = job.waits_for
    if job.state == "failed":
        data["reason"] = job.failure.message if job.failure else "The task failed."
    elif job.state == "cancelled":
        data["reason"] = CANCELLED
    return data


def result_data(job: Job, transcript: Transcript, label: Label) -> Json:
    """What came of a task: its sentences, and all of it in the layout it was asked for in."""
    return {
        "task_id": job.id,
        "status": STATUSES[job.state],
        "text": drawn(transcript, layout_of(job.request.drawing), label),
        "texts": _texts(transcript, label),
    }


def _texts(transcript: Transcript, label: Label) -> list[Json]:
    return [_text(segment, label) for segment in transcript.segments if segment.text]


def _text(segment: Segment, label: Label) -> Json:
    """`bg` and `ed` are milliseconds of the recording."""
    times: Json = {"bg": round(segment.start * 1000), "ed": round(max(segment.start, segment.end) * 1000)}
    spoken_by: Json = {} if segment.speaker is None else {"spk": label(segment.speaker)}
    return {**times, "text": segment.text, **spoken_by}
