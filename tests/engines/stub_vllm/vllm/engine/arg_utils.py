from __future__ import annotations

from types import SimpleNamespace

AsyncEngineArgs = SimpleNamespace
