"""Signatures of webhooks, verified by those who wrote the specification."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.domain.errors import InvalidParameter
from app.service.jobs.signing import signature, signing_key
from app.service.jobs.webhooks import LONGEST_SECRET, check_secret

ID = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"


def headers(secret: str, body: bytes, *, at: int | None = None) -> dict[str, str]:
    now = int(time.time()) if at is None else at
    signed = signature(secret, ID, now, body)
    return {"webhook-id": ID, "webhook-timestamp": str(now), "webhook-signature": signed}


@given(key=st.binary(min_size=24, max_size=64), body=st.text())
def test_what_is_signed_with_a_secret_in_base64_is_verified(key: bytes, body: str) -> None:
    encoded = "whsec_" + base64.b64encode(key).decode()
    for secret in (encoded, encoded.rstrip("=")):
        check_secret(secret)
        Webhook(secret).verify(body, headers(secret, body.encode()), json_parse=False)


@given(secret=st.text(min_size=16, max_size=100).filter(lambda text: not text.startswith("whsec_")), body=st.text())
def test_what_is_signed_with_any_other_secret_is_verified_by_its_bytes(secret: str, body: str) -> None:
    check_secret(secret)
    Webhook(secret.encode()).verify(body, headers(secret, body.encode()), json_parse=False)


def test_a_known_signature() -> None:
    """The example of the reference implementations' own tests."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    made = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("changed", ["body", "id", "timestamp", "secret"])
def test_what_was_changed_on_its_way_is_not_verified(changed: str) -> None:
    secret, body = "a secret of sixteen", '{"state":"succeeded"}'
    signed = headers(secret, body.encode())
    if changed == "id":
        signed["webhook-id"] = "msg_other"
    if changed == "timestamp":
        signed["webhook-timestamp"] = str(int(signed["webhook-timestamp"]) + 1)
    with pytest.raises(WebhookVerificationError):
        Webhook(b"another secret" if changed == "secret" else secret.encode()).verify(
            body.replace("succeeded", "failed") if changed == "body" else body, signed
        )


def test_what_was_sent_long_ago_is_not_verified() -> None:
    secret, body = "a secret of sixteen", "{}"
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(secret.encode()).verify(body, headers(secret, body.encode(), at=int(time.time()) - 600))


@pytest.mark.parametrize("secret", ["whsec_!" + "a" * 30, "whsec_" + "a" * 29, "whsec_é" + "a" * 30])
def test_a_secret_that_is_no_base64_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        signing_key(secret)
    with pytest.raises(InvalidParameter, match="base64") as caught:
        check_secret(secret)
    assert caught.value.param == "webhook_secret"
    assert secret not in caught.value.message


@pytest.mark.parametrize(
    "secret",
    ["", "short", "x" * 15, "whsec_", "whsec_" + base64.b64encode(b"x" * 15).decode(), "x" * (LONGEST_SECRET + 1)],
)
def test_a_secret_that_could_be_guessed_or_never_ends_is_refused(secret: str) -> None:
    with pytest.raises(InvalidParameter, match=r"^callback_secret must be of 16 bytes") as caught:
        check_secret(secret, param="callback_secret")
    assert caught.value.param == "callback_secret"


def test_half_a_character_is_no_secret() -> None:
    with pytest.raises(InvalidParameter):
        check_secret("\ud800" * 20)
