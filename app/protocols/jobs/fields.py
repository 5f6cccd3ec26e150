"""The fields of a job's form that the transcription route has not got: where the recording lies, whom to tell, and what
its owner wants to find it by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast, get_args

from app.domain.errors import InvalidParameter
from app.domain.options import Task
from app.protocols.described import MAX_NAME_CHARACTERS
from app.protocols.forms import Form, bounded
from app.protocols.json_form import INPUT
from app.protocols.messages import is_text
from app.protocols.openai.wishes import KNOWN_FIELDS
from app.service.jobs.job import Webhook
from app.service.jobs.webhooks import check_secret, check_webhook
from app.settings import Settings

UPLOAD: Final = "upload"
OWN_FIELDS: Final = frozenset(
    {
        "task",
        UPLOAD,
        "name",
        "metadata",
        "priority",
        "webhook_url",
        "webhook_secret",
        "webhook_result",
        "idempotency_key",
    }
)
JOB_FIELDS: Final = KNOWN_FIELDS | OWN_FIELDS | {INPUT}
TASKS: Final[tuple[Task, ...]] = get_args(Task)
MOST_PRIORITY: Final = 10
MAX_METADATA: Final = 16
MAX_KEY_CHARACTERS: Final = 64
MAX_VALUE_CHARACTERS: Final = 512
MAX_IDEMPOTENCY_CHARACTERS: Final = 255


@dataclass(frozen=True, slots=True)
class Extras:
    """What is asked of a job beside its transcript. `name` is "" where nothing was said. `telling_result`: its owner is
    sent the transcript, too."""

    task: Task = "transcribe"
    name: str = ""
    metadata: Mapping[str, str] | None = None
    priority: int = 0
    webhook: Webhook | None = None
    telling_result: bool = False
    idempotency_key: str | None = None


def read_extras(form: Form, header: str | None, settings: Settings) -> Extras:
    """The form's own fields; `header` is what Idempotency-Key said.

    Raises:
        InvalidParameter: a value makes no sense, or fields contradict each other.
    """
    if form.flag("stream"):
        told = "A job is not streamed; leave stream out, and follow it at /v1/jobs/{id}/events."
        raise InvalidParameter(told, param="stream")
    webhook = _webhook(form, settings)
    telling_result = form.flag("webhook_result") or False
    if telling_result and webhook is None:
        raise InvalidParameter("webhook_result goes with webhook_url.", param="webhook_result")
    return Extras(
        task=cast("Task", form.choice("task", TASKS) or "transcribe"),
        name=_said(form, "name", MAX_NAME_CHARACTERS) or "",
        metadata=_metadata(form),
        priority=_priority(form),
        webhook=webhook,
        telling_result=telling_result,
        idempotency_key=_idempotency_key(form, header),
    )


def _webhook(form: Form, settings: Settings) -> Webhook | None:
    url, secret = form.text("webhook_url"), form.text("webhook_secret")
    if url is None:
        if secret is not None:
            raise InvalidParameter("webhook_secret goes with webhook_url.", param="webhook_secret")
        return None
    url, secret = url.strip(), (secret or "").strip()
    check_webhook(url, networks=settings.webhook_networks)
    if secret:
        check_secret(secret)
    return Webhook(url, secret)


def _metadata(form: Form) -> Mapping[str, str] | None:
    name = "metadata"
    said = form.text(name)
    if said is None:
        if form.nested(name):
            raise InvalidParameter(f"{name} must be sent as one field, a JSON object.", param=name)
        return None
    try:
        parsed: object = json.loads(said)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidParameter(f"{name} must be a JSON object of strings.", param=name)
    pairs = cast("dict[str, object]", parsed)
    if len(pairs) > MAX_METADATA:
        raise InvalidParameter(f"{name} has more than {MAX_METADATA} keys.", param=name)
    return {
        _part(key, name, MAX_KEY_CHARACTERS): _part(value, name, MAX_VALUE_CHARACTERS) for key, value in pairs.items()
    }


def _part(value: object, name: str, most: int) -> str:
    """A key or value of metadata."""
    if not isinstance(value, str) or len(value) > most or not _is_plain(value):
        told = (
            f"{name} takes keys of {MAX_KEY_CHARACTERS} and values of {MAX_VALUE_CHARACTERS} characters at most, all "
        )
        raise InvalidParameter(f"{told}of them strings.", param=name)
    return value


def _priority(form: Form) -> int:
    said = form.text("priority")
    if said is None:
        return 0
    number = bounded(said, "priority", -MOST_PRIORITY, MOST_PRIORITY)
    if number != int(number):
        raise InvalidParameter("priority must be a whole number.", param="priority")
    return int(number)


def _idempotency_key(form: Form, header: str | None) -> str | None:
    name = "idempotency_key"
    field, header = _said(form, name, MAX_IDEMPOTENCY_CHARACTERS), (header or "").strip() or None
    if header is not None and (len(header) > MAX_IDEMPOTENCY_CHARACTERS or not _is_plain(header)):
        told = f"Idempotency-Key must be text of {MAX_IDEMPOTENCY_CHARACTERS} characters at most."
        raise InvalidParameter(told, param=name)
    if field is not None and header is not None and field != header:
        raise InvalidParameter(f"{name} contradicts the header Idempotency-Key.", param=name)
    return field or header


def _said(form: Form, name: str, most: int) -> str | None:
    """A field's text without blanks around it."""
    said = (form.text(name) or "").strip() or None
    if said is not None and (len(said) > most or not _is_plain(said)):
        raise InvalidParameter(f"{name} must be text of {most} characters at most.", param=name)
    return said


def _is_plain(said: str) -> bool:
    """Whether every database and every answer can hold it: no halves of characters, no NUL."""
    return is_text(said) and "\0" not in said
