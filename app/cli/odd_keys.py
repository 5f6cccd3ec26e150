"""The keys of OddASR's config.json that mean something here, and what kind of value each has."""

from __future__ import annotations

import logging
import unicodedata

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Block(BaseModel):
    """A JSON object. A key that no field reads stays in `model_extra`."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class Instances(Block):
    """asr_file_cfg and asr_sentence_cfg. An instance is a copy of the model."""

    max_instance: int | None = Field(default=None, ge=0)
    save_audio: bool = False


class Live(Instances):
    """asr_stream_cfg. Seconds below 0 are OddASR's default."""

    free_resource_timeout: float = -1.0


class Recognition(Block):
    """odd_asr_cfg."""

    preload_model: bool = True
    enable_gpu: bool | None = None
    disable_stream: bool = False
    concurrent_thread: int = Field(default=0, ge=0, le=256)
    asr_stream_cfg: Live = Live()
    asr_file_cfg: Instances = Instances()
    asr_sentence_cfg: Instances = Instances()
    enable_https: bool = False

    @property
    def blocks(self) -> dict[str, Instances]:
        """What is said about each way to recognise, by its whole name."""
        named = {
            "asr_stream_cfg": self.asr_stream_cfg,
            "asr_file_cfg": self.asr_file_cfg,
            "asr_sentence_cfg": self.asr_sentence_cfg,
        }
        return {f"odd_asr_cfg.{name}": block for name, block in named.items()}


class Config(Block):
    """The whole file. What it leaves out is as OddASR does it."""

    host: str = Field(default="0.0.0.0", alias="HOST")  # noqa: S104 - as there
    port: int = Field(default=9002, ge=1, le=65535, alias="PORT")
    ws_host: str | None = Field(default=None, alias="WS_HOST")
    ws_port: int = Field(default=8101, ge=1, le=65535, alias="WS_PORT")
    debug: bool = Field(default=False, alias="Debug")
    odd_asr_cfg: Recognition = Recognition()
    log_file: str | None = None
    log_path: str | None = None
    log_level: int | str | None = None
    """As in Python's logging: a number, or the name of one."""

    @field_validator("host", "ws_host", "log_file", "log_path")
    @classmethod
    def _text(cls, said: str | None) -> str | None:
        if said is not None and any(unicodedata.category(letter) in ("Cc", "Cs") for letter in said):
            raise ValueError("it has a character that is no text")
        return said

    @field_validator("log_level", mode="before")
    @classmethod
    def _level(cls, said: object) -> object:
        known = said.upper() in logging.getLevelNamesMapping() if isinstance(said, str) else isinstance(said, int)
        if not known or isinstance(said, bool):
            raise ValueError("a level is a number of Python's (10, 20, 30, 40) or its name (DEBUG, INFO, ...)")
        return said
