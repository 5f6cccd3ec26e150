"""What the compose files say, and what compose makes of their variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from real.server import ROOT

FILES = sorted(path.name for path in ROOT.glob("docker-compose*.yml"))
MAIN = "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+):-([^${}]*|\$\{\w+:-[^${}]*\})\}")
"""Compose reads no default in which something follows another variable: ${A:-${B:-b}.10} is an error to it."""
_WANTED = re.compile(r"\$\{\w+:\?[^${}]+\}")
"""One that has no default: compose says what is missing."""


class _Loader(yaml.SafeLoader):
    """With compose's own tags."""


def _tagged(loader: yaml.SafeLoader, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return None


_Loader.add_multi_constructor("!", _tagged)


def services(name: str) -> dict[str, dict[str, Any]]:
    """A file's services, variables as they are written."""
    return yaml.load((ROOT / name).read_text(), _Loader)["services"]


def filled_in(text: str, env: Mapping[str, str] | None = None) -> str:
    """`text` with variables replaced by what `env` (.env) says, or by their defaults."""
    known = env or {}
    made = _VARIABLE.sub(lambda found: known.get(found[1]) or filled_in(found[2], known), _WANTED.sub("", text))
    assert "${" not in made, f"compose cannot read {made}"
    return made
