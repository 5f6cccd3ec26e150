"""Jobs that are handed over while everything else goes on, and what became of each in the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from benchmarks.soak.asks import FILE_NAME, KEY, plain
from benchmarks.soak.clients import PATIENCE
from benchmarks.soak.outcomes import CUT_OFF, LATE, REFUSED, Outcome

JOB = "job"
_PATH, _HEADERS = "/v1/jobs", {"authorization": f"Bearer {KEY}"}
_FORM = {"language": "en", "response_format": "verbose_json"}
_LOOK_SECONDS = 0.2
_END_SECONDS = 600.0
"""From when a job that has not ended is held for lost."""
_SHOWN = 200


async def hand_over(
    http: httpx.AsyncClient, wav: bytes, name: str, *, kept: bool, accepted: Callable[[str], object]
) -> Outcome:
    """Hand a clip over under an idempotency key, so that who is not sure may do it again; `accepted` is told its id."""
    began = time.monotonic()
    headers = _HEADERS | {"idempotency-key": name} | ({} if kept else {"connection": "close"})
    try:
        answer = await http.post(_PATH, headers=headers, files={"file": (FILE_NAME, wav)}, data=_FORM)
    except httpx.ConnectError as error:
        return Outcome(JOB, began, time.monotonic(), REFUSED, kept=kept, detail=repr(error))
    except httpx.TimeoutException as error:
        return Outcome(JOB, began, time.monotonic(), LATE, kept=kept, detail=repr(error))
    except httpx.TransportError as error:
        return Outcome(JOB, began, time.monotonic(), CUT_OFF, kept=kept, detail=repr(error))
    right = answer.status_code in {200, 202}
    if right:
        accepted(answer.json()["id"])
    return Outcome(
        JOB,
        began,
        time.monotonic(),
        str(answer.status_code),
        right,
        after="retry-after" in answer.headers,
        kept=kept,
        detail="" if right else answer.text[:_SHOWN],
    )


async def learn(http: httpx.AsyncClient, wav: bytes, name: str) -> str:
    """What comes of a clip when nothing else happens. Raises RuntimeError: nothing does."""
    ids: list[str] = []
    outcome = await hand_over(http, wav, name, kept=True, accepted=ids.append)
    if not ids:
        raise RuntimeError(f"job: {outcome.status} {outcome.detail}")
    said, wrong = await _result(http, ids[0], time.monotonic() + PATIENCE)
    if wrong:
        raise RuntimeError(f"job: {wrong}")
    return said


async def lost(
    base: str, accepted: Mapping[str, int], expected: Callable[[int], str], told: Callable[[], object]
) -> list[str]:
    """Wait for the end of every accepted job (id: clip), and say which have not succeeded with what was `expected`."""
    until = time.monotonic() + _END_SECONDS
    found: list[str] = []
    async with httpx.AsyncClient(base_url=base, timeout=PATIENCE, trust_env=False) as http:
        for job_id, clip in accepted.items():
            said, wrong = await _result(http, job_id, until)
            if wrong or said != expected(clip):
                found.append(wrong or f"{said[:_SHOWN]} in place of {expected(clip)[:_SHOWN]}")
            told()
    return found


async def _result(http: httpx.AsyncClient, job_id: str, until: float) -> tuple[str, str]:
    """A job's transcript without ids and clocks once it has ended, and what is wrong with it ("": nothing)."""
    while True:
        job = await _json(http, f"{_PATH}/{job_id}")
        if job.get("state") not in {"queued", "running"}:
            break
        if time.monotonic() > until:
            return "", f"still {job['state']}, {job['waits_for'] or 'and waits for nothing'}"
        await asyncio.sleep(_LOOK_SECONDS)
    if job.get("state") != "succeeded":
        return "", f"{job.get('state', 'gone')}: {job.get('error')}"
    answer = await http.get(f"{_PATH}/{job_id}/result", headers=_HEADERS)
    return plain(answer.text), "" if answer.is_success else f"result: {answer.status_code}"


async def _json(http: httpx.AsyncClient, path: str) -> dict[str, Any]:
    return (await http.get(path, headers=_HEADERS)).json()
