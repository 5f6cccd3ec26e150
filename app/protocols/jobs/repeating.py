"""Submissions that are told from each other: the same again, under the same key, is the same job."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from app.protocols.forms import Form
from app.protocols.jobs.fields import JOB_FIELDS, UPLOAD
from app.protocols.jobs.source import Sent, Source, Uploaded
from app.protocols.json_form import INPUT
from app.service.jobs.job import Idempotency

_DETECTION: Final = "chunking_strategy"
"""The one field that is an object, and may be sent in parts."""
_SAID: Final = tuple(sorted(JOB_FIELDS - {"file", INPUT, UPLOAD, "idempotency_key"}))


def idempotency(form: Form, source: Source, key: str) -> Idempotency:
    """The key, with a digest of all that was submitted under it: every field, and what was sent as the recording. Of an
    upload that is its id, as its bytes are gone once there is a job. Reads the whole file: for a thread.

    Raises:
        OSError: it cannot be read.
    """
    fields: dict[str, object] = {name: form.texts(name) for name in _SAID}
    fields[_DETECTION] = [fields[_DETECTION], sorted(form.nested(_DETECTION).items())]
    said = json.dumps([fields, _recording(source)], ensure_ascii=True, sort_keys=True)
    return Idempotency(key, hashlib.sha256(said.encode()).hexdigest())


def _recording(source: Source) -> list[str]:
    if isinstance(source, Sent):
        with source.path.open("rb") as file:
            return ["file", source.media_type, hashlib.file_digest(file, "sha256").hexdigest()]
    return ["upload", source.id] if isinstance(source, Uploaded) else ["address", source.address]
