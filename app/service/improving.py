"""Getting what would serve better than what is there, in the background, for as long as something is missing."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from app.domain.errors import SpeechError
from app.modelstore.catalog import CATALOG
from app.modelstore.selection import missing_packages
from app.service.loading import existing_engines
from app.service.models import Models
from app.service.shelf import model_entry

_logger = logging.getLogger(__name__)
_RETRY_SECONDS = 600.0
"""Between two tries to fetch what is missing."""


class Improvement:
    """One round after the other of fetching what is missing and serving with it."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._told: set[str] = set()

    async def run(self) -> None:
        """Keep trying; ends when nothing is missing."""
        # In threads: a file that is looked at for the first time is hashed, and the loop has others to serve.
        while missing := await asyncio.to_thread(self._missing):
            for model_id in missing:
                if await self._improved(model_id):
                    break  # what was missing beside it may not be any more
            else:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _improved(self, model_id: str) -> bool:
        """Whether the model could be fetched, and serves now or never will. What keeps it away is logged once."""
        try:
            await self._models.fetch(model_id)
        except SpeechError as error:
            if model_id not in self._told:
                self._told.add(model_id)
                _logger.warning("%s is still missing: %s", model_id, " ".join(error.message.split()))
            return False
        except Exception:  # this try ends here; the next one may go better
            if model_id not in self._told:
                self._told.add(model_id)
                _logger.exception("%s is still missing", model_id)
            return False
        try:
            await self._adopt(model_id)
        except Exception as error:  # it is here and no good: what serves goes on serving
            why = error.message if isinstance(error, SpeechError) else "it could not be loaded"
            unforeseen = not isinstance(error, SpeechError)
            _logger.error("%s has arrived and cannot be served: %s", model_id, why, exc_info=unforeseen)
            choice = self._models.choice
            reasons = ((passed, why if passed == model_id else reason) for passed, reason in choice.passed_over)
            self._models.choice = replace(choice, passed_over=tuple(reasons))
        return True

    def _missing(self) -> list[str]:
        """Ids of what this machine is wanted to have and does not have yet."""
        choice, shelf = self._models.choice, self._models.shelf
        better = [] if choice.by_name else [model_id for model_id, _ in choice.passed_over]
        known = [entry for entry in map(CATALOG.model, better) if entry is not None]
        return [
            entry.id
            for entry in (*known, *self._models.missing_helpers())
            if entry.engine in existing_engines() and not missing_packages(entry) and shelf.located(entry.id) is None
        ]

    async def _adopt(self, model_id: str) -> None:
        """Serve with what has arrived: a better recogniser becomes the default, the one before it stays."""
        models = self._models
        role = model_entry(model_id).role
        if role == "asr":
            await models.admit(model_id, default=True)
            better = [passed for passed, _ in models.choice.passed_over].index(model_id)
            models.choice = replace(models.choice, passed_over=models.choice.passed_over[:better])
            _logger.info("%s has arrived and answers from now on", model_id)
        else:
            await models.load_helpers()
            await models.renew(role)
