"""The AsyncAPI document: that it is one, that it is served, and that it names the addresses there are. What messages it
describes is held against real sessions in tests/protocols/test_asyncapi_messages.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import yaml
from protocols.served import served
from starlette.routing import WebSocketRoute

from app import __version__
from app.main import create_app
from app.settings import Settings
from app.web.documents import ASYNCAPI, DOCUMENT

SPECIFICATION = "@asyncapi/specs@6.11.1"
"""The makers' own JSON schemas of such documents, which no Python package carries."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return yaml.safe_load(DOCUMENT.read_text("utf-8"))


def everything(value: object) -> Iterator[dict[str, Any]]:
    """All objects in it."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from everything(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everything(inner)


def found(document: dict[str, Any], reference: str) -> Any:
    """What a reference names. Raises KeyError."""
    value: Any = document
    for name in reference.removeprefix("#/").split("/"):
        value = value[name]
    return value


@pytest.fixture(scope="module")
def specification(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm to fetch AsyncAPI's own schemas with")
    folder = tmp_path_factory.mktemp("specification")
    quietly = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    command = [npm, "install", "--prefix", folder, *quietly, SPECIFICATION]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    if done.returncode != 0:
        reason = f"AsyncAPI's own schemas cannot be fetched: {done.stderr[-500:]}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return json.loads((folder / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json").read_text("utf-8"))


def test_it_is_what_asyncapi_says_such_a_document_is(document: dict[str, Any], specification: dict[str, Any]) -> None:
    schema = jsonschema_rs.Draft7Validator(specification)
    assert [f"{list(error.instance_path)}: {error.message[:300]}" for error in schema.iter_errors(document)] == []
    wrong = document | {"operations": {"one": {"action": "shout"}}}
    assert not schema.is_valid(wrong)


def test_it_is_served_to_everybody_and_says_which_version_this_is(document: dict[str, Any]) -> None:
    with served(create_app(Settings(_env_file=None, api_keys="key"))) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}{ASYNCAPI}", trust_env=False, timeout=30)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/yaml")
    assert yaml.safe_load(answer.text) == document
    assert document["asyncapi"] == "3.0.0"
    assert document["info"]["version"] == __version__


def test_every_reference_leads_somewhere_and_everything_is_referred_to(document: dict[str, Any]) -> None:
    references = {str(one["$ref"]) for one in everything(document) if "$ref" in one}
    for reference in references:
        assert isinstance(found(document, reference), dict), reference
    for kind, parts in document["components"].items():
        for name in parts:
            assert f"#/components/{kind}/{name}" in references, name
    for name in document["servers"]:
        assert f"#/servers/{name}" in references, name


def test_every_channel_is_heard_and_told(document: dict[str, Any]) -> None:
    for name, channel in document["channels"].items():
        of_it = [one for one in document["operations"].values() if one["channel"]["$ref"] == f"#/channels/{name}"]
        assert sorted(one["action"] for one in of_it) == ["receive", "send"]
        said = [message["$ref"] for one in of_it for message in one["messages"]]
        assert sorted(said) == sorted(f"#/channels/{name}/messages/{message}" for message in channel["messages"])


def test_its_addresses_are_those_of_the_application(document: dict[str, Any]) -> None:
    routes = create_app(Settings(_env_file=None)).routes
    there = {route.path for route in routes if isinstance(route, WebSocketRoute)}
    main = {
        channel["address"]
        for channel in document["channels"].values()
        if {"$ref": "#/servers/main"} in channel["servers"]
    }
    assert main == there
    for name, server in document["servers"].items():
        if name not in {"main", "mainTls"}:
            setting = next(word for word in server["description"].replace(",", " ").split() if word.endswith("_PORT"))
            assert setting.lower() in Settings.model_fields


def test_every_schema_is_one_and_every_example_fits(document: dict[str, Any]) -> None:
    examples = 0
    for name, message in document["components"]["messages"].items():
        schema = {**message["payload"], "components": document["components"]}
        jsonschema_rs.meta.validate(schema)
        for example in message.get("examples", ()):
            examples += 1
            assert jsonschema_rs.Draft7Validator(schema).is_valid(example["payload"]), name
    assert examples >= 10


def test_what_the_server_says_is_closed(document: dict[str, Any]) -> None:
    """An object in one of its messages allows nothing that is not written there, or narrows one that does not."""
    for operation in document["operations"].values():
        if operation["action"] != "send":
            continue
        for reference in operation["messages"]:
            message = found(document, found(document, reference["$ref"])["$ref"])
            schema = found(document, message["payload"]["$ref"])
            assert schema["additionalProperties"] is False, message["title"]
            for inner in everything(schema["properties"]):
                if inner.get("type") == "object" and "maxProperties" not in inner:
                    assert inner.get("additionalProperties") is False, (message["title"], inner)
