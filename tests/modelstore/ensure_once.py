"""Run as a process of its own: fetch the toy model and print its folder."""

from __future__ import annotations

import json
import sys

from app.modelstore.mirrors import Endpoints
from app.modelstore.store import ModelStore
from app.settings import Settings
from tests.modelstore.conftest import toy_catalog

if __name__ == "__main__":
    values = json.loads(sys.argv[1])
    endpoint = values.pop("endpoint")
    settings = Settings(_env_file=None, model_mirrors=["modelscope"], hf_hub_offline=False, **values)  # pyright: ignore
    print(ModelStore(settings, catalog=toy_catalog(), endpoints=Endpoints(modelscope=endpoint)).ensure("toy"))
