"""A call of Alibaba Cloud's gateway in RPC style: parameters in the address, in a form or in headers, and whose it is.

Calls are signed with a secret that only Alibaba Cloud knows beside the caller. Here the AccessKeyId is an API key, and
the signature is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fastapi import Request

from app.domain.errors import AuthenticationFailed, InvalidParameter, UploadTooLarge
from app.protocols.aliyun.filetrans.errors import InvalidVersion, MissingParameter
from app.protocols.callers import origin
from app.service.admission import Caller
from app.service.auth import KeyRing, key_headers, presented_keys

FORM = "application/x-www-form-urlencoded"
MOST_BYTES = 1024 * 1024
"""Of a body: thousands of hotwords, each character as nine."""
VERSIONS = frozenset({"2018-08-17", "2019-08-23", "2021-12-21"})
"""Of the interface: China, elsewhere, and its slower edition; their tasks are the same."""
_MOST_PARAMETERS = 100
_ACTION, _VERSION, _FORMAT, _KEY = "Action", "Version", "Format", "AccessKeyId"
_CREDENTIAL = re.compile(rb"ACS3-HMAC-\S+\s+(?:.*[,\s])?Credential=([^,\s]+)")
"""Where the key is in calls that are signed the third way."""
_NO_KEY = "Specified access key is not found. AccessKeyId must be one of this server's API keys."


@dataclass(frozen=True, slots=True)
class Call:
    """What is called, by whom, with what."""

    action: str
    caller: Caller
    parameters: Mapping[str, str]

    def needed(self, name: str) -> str:
        """A parameter's value.

        Raises:
            MissingParameter: it has none.
        """
        value = self.parameters.get(name, "")
        if not value.strip():
            raise MissingParameter(name)
        return value


async def read_call(request: Request) -> Call:
    """The call that a request is.

    Raises:
        AuthenticationFailed: its AccessKeyId is no key of this server, and nor is anything else it brings.
        MissingParameter: it names no action.
        InvalidVersion, InvalidParameter, UploadTooLarge: it is for another interface, or wants what is not here.
    """
    parameters = _once(request.query_params.multi_items(), {})
    if request.method == "POST" and is_form(request.headers.get("content-type", "")):
        # Before anybody knows whose it is: some clients have their key in there, too.
        parameters = _once(await _form(request), parameters)
    caller = _caller(request, parameters.get(_KEY))
    action = parameters.get(_ACTION) or request.headers.get("x-acs-action", "")
    if not action:
        raise MissingParameter(_ACTION)
    version = parameters.get(_VERSION) or request.headers.get("x-acs-version")
    if version and version not in VERSIONS:
        raise InvalidVersion(f"Specified parameter Version is not valid: there are {', '.join(sorted(VERSIONS))}.")
    if parameters.get(_FORMAT, "JSON").upper() != "JSON":
        raise InvalidParameter("Answers are JSON: leave Format out.", param=_FORMAT)
    return Call(action, caller, parameters)


def is_form(content_type: str) -> bool:
    """Whether a body may hold parameters."""
    return content_type.partition(";")[0].strip().lower() == FORM


def _once(items: list[tuple[str, str]], before: Mapping[str, str]) -> dict[str, str]:
    """Parameters by name; twice the same is once."""
    parameters = dict(before)
    for name, value in items:
        if parameters.setdefault(name, value) != value:
            raise InvalidParameter(f"{name[:64]!r} was sent twice; send it once.", param=name[:64])
    return parameters


async def _form(request: Request) -> list[tuple[str, str]]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise UploadTooLarge(f"The body has more than {MOST_BYTES} bytes.", param="Task")
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:  # without a cause: it would repeat what was sent in the log
        raise InvalidParameter("The form cannot be read.") from None


def _caller(request: Request, access_key: str | None) -> Caller:
    keyring: KeyRing = request.app.state.keyring
    headers = key_headers(request.scope)
    if access_key:
        headers.append((b"x-nls-token", access_key.encode(errors="surrogateescape")))
    signed = (_CREDENTIAL.match(value) for name, value in request.scope["headers"] if name == b"authorization")
    headers += [(b"x-nls-token", found[1]) for found in signed if found]
    if not keyring.open and not any(keyring.allows(key) for key in presented_keys(headers)):
        raise AuthenticationFailed(_NO_KEY)
    return Caller(keyring.owner(headers), None, *origin(request))
