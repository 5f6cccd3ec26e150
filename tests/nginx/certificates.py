"""A certificate for this machine, as an operator would mount it."""

from __future__ import annotations

from pathlib import Path

import trustme


def make_certificate(folder: Path) -> Path:
    """tls.crt and tls.key in `folder`; the path of their authority's certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    (folder / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(folder / "tls.key")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return folder / "ca.pem"
