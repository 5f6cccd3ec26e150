"""Signatures of what is sent to webhooks, by a secret that sender and receiver share, as the Standard Webhooks
specification (1.0.0) has them."""

from __future__ import annotations

import base64
import hashlib
import hmac

PREFIX = "whsec_"
"""What secrets begin with whose rest is base64."""


def signing_key(secret: str) -> bytes:
    """The bytes that `secret` stands for: after PREFIX those that its rest encodes in base64 (with or without padding),
    else its own, as UTF-8.

    Raises:
        ValueError: it begins with PREFIX, and its rest is no base64; or it has halves of surrogate pairs.
    """
    if not secret.startswith(PREFIX):
        return secret.encode()
    encoded = secret.removeprefix(PREFIX).rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:  # binascii's is one; characters that are not ASCII are another
        raise ValueError(f"what follows {PREFIX} is no base64") from None


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. `message_id` has no full stop in it, `timestamp` is in whole epoch seconds.

    Raises:
        ValueError: see signing_key.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(signing_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
