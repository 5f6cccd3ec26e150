"""What stores lists of words behind the page: the real routes and the real store, and keys for every test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from app.protocols.errors import Faces
from app.protocols.openai import errors as openai_errors
from app.protocols.vocabularies import http as vocabularies
from app.protocols.vocabularies import sensitive
from app.service.auth import KeyRing
from app.service.uploads import UploadGuard
from app.service.vocabularies.store import VocabularyStore
from app.settings import Settings

from .fake_server import FakeServer

KEYS = tuple(f"key-{number}" for number in range(100))
MAX_TERMS = 10_000
FIELDS = {"vocabularies": "hotwords", "sensitive_words": "words"}


@dataclass
class Service:
    """What the routes ask of the service."""

    settings: Settings
    vocabularies: VocabularyStore


@contextlib.contextmanager
def storing(folder: Path) -> Iterator[FastAPI]:
    """An application with nothing but these routes, as main assembles them."""
    temp = folder / "temp"
    temp.mkdir()
    settings = Settings(_env_file=None, temp_dir=temp, data_dir=folder / "data", max_hotwords=MAX_TERMS)
    store = VocabularyStore(settings.data_dir / "vocabularies.db", max_hotwords=MAX_TERMS)
    app = FastAPI(title="Fake server", version="0", redirect_slashes=False)
    app.state.service = Service(settings, store)
    app.state.keyring = keyring = KeyRing(KEYS)
    app.include_router(vocabularies.router)
    app.include_router(sensitive.router)
    faces = Faces(openai_errors.face)
    faces.install(app)
    app.add_middleware(UploadGuard, keyring=keyring, max_bytes=2**26, idle_seconds=10, refuse=faces.refusal)
    try:
        yield app
    finally:
        with ThreadPoolExecutor(1) as aside:  # the browser's own loop runs in this thread
            aside.submit(asyncio.run, store.close()).result()


@dataclass
class Lists:
    """The stored lists of one key, as a program sees them."""

    fake: FakeServer
    key: str
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(
            base_url=self.fake.base, headers={"authorization": f"Bearer {self.key}"}, trust_env=False, timeout=20
        )

    def store(self, name: str, terms: list[Any], path: str = "vocabularies") -> str:
        """A new list's id."""
        answer = self.http.post(f"/v1/{path}", json={"name": name, FIELDS[path]: terms})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def change(self, list_id: str, path: str = "vocabularies", **what: Any) -> None:
        answer = self.http.put(f"/v1/{path}/{list_id}", json=what)
        assert answer.status_code == 200, answer.text

    def delete(self, list_id: str, path: str = "vocabularies") -> None:
        assert self.http.delete(f"/v1/{path}/{list_id}").status_code == 200

    def names(self, path: str = "vocabularies") -> list[str]:
        return [one["name"] for one in self.http.get(f"/v1/{path}").json()["data"]]

    def terms(self, name: str, path: str = "vocabularies") -> list[str]:
        return [term if isinstance(term, str) else term["text"] for term in self.show(name, path)[FIELDS[path]]]

    def weights(self, name: str) -> dict[str, float]:
        return {term["text"]: round(term["weight"], 3) for term in self.show(name)["hotwords"]}

    def show(self, name: str, path: str = "vocabularies") -> dict[str, Any]:
        [found] = [one for one in self.http.get(f"/v1/{path}").json()["data"] if one["name"] == name]
        return dict(self.http.get(f"/v1/{path}/{found['id']}").json())


def fresh_keys() -> Iterator[str]:
    """Keys that nobody has used: each sees its own lists only."""
    return iter(KEYS)
