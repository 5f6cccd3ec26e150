"""What an operator has to know about a config.json of OddASR's: what it says that does nothing here."""

from __future__ import annotations

from collections.abc import Iterator

from app.cli.odd_keys import Block, Config

_MARKS = "a sentence ends with a pause, and marks wait neither for a length nor for a time"
_VAD = "OddASR does not look at it, either; a client says how long a pause ends a sentence (max_sentence_silence)"
_FLUSH = "what was said is final after 1.5 s without sound"
_MODELS = "models are chosen with ASR_MODEL and AUTO_LOAD_CUSTOM_ASR_MODELS"
_LIVE = "it is about live speech"
_FORCE = "OddASR reads it and does nothing with it; MAX_UTTERANCE_SECONDS ends speech that does not pause"
_TLS = "TLS_CERT_FILE and TLS_KEY_FILE name the certificate, or a reverse proxy has it"
_IN_EVERY_BLOCK = {
    "punct_mini_len": _MARKS,
    "punct_time_mini_force_trigger": _MARKS,
    "cache_flush_timeout": _FLUSH,
    "vad_threshold": _VAD,
    "vad_min_speech_duration": _VAD,
    "vad_min_silence_duration": _VAD,
    "force_final_result": _FORCE,
    "models": _MODELS,
}
_OF_RECORDINGS = _IN_EVERY_BLOCK | {"free_resource_timeout": _LIVE}
_WITHOUT_EFFECT = {
    **{f"odd_asr_cfg.asr_stream_cfg.{key}": why for key, why in _IN_EVERY_BLOCK.items()},
    **{f"odd_asr_cfg.asr_file_cfg.{key}": why for key, why in _OF_RECORDINGS.items()},
    **{f"odd_asr_cfg.asr_sentence_cfg.{key}": why for key, why in _OF_RECORDINGS.items()},
    "odd_asr_cfg.ssl_cert_path": _TLS,
    "odd_asr_cfg.ssl_key_path": _TLS,
    "odd_asr_slp_cfg": "its files are not read; words are stored in DATA_DIR, through the API or the page",
    "db_cfg": "OddASR's database is not read; what is stored is in SQLite files in DATA_DIR",
    "redis_cfg": "nothing here needs Redis",
    "asr": "nobody is asked for an appid and a secret; API_KEYS are the keys",
    "Users": "there are no accounts to log in with; API_KEYS are the keys",
}
_UNKNOWN = "no such key of OddASR's is known"
_MOST_NAMES = 16
"""In one line: a file may be another program's."""


def notes(config: Config) -> Iterator[str]:
    """A line for each reason, with the keys that it is the reason for."""
    yield from _partly(config)
    by_reason: dict[str, list[str]] = {}
    for key, value in _left(config):
        if not _is_moot(key, value):
            by_reason.setdefault(_WITHOUT_EFFECT.get(key, _UNKNOWN), []).append(key)
    for reason, keys in by_reason.items():
        yield _without_effect(keys, reason)


def _partly(config: Config) -> Iterator[str]:
    """Keys whose value decides whether there is something to say."""
    odd = config.odd_asr_cfg
    if not odd.preload_model:
        yield _without_effect(["odd_asr_cfg.preload_model"], "a model is loaded before somebody asks for it")
    if odd.disable_stream:
        yield "odd_asr_cfg.disable_stream closes WS_PORT only: the other live protocols, at PORT, stay"
    if saving := [f"{name}.save_audio" for name, block in odd.blocks.items() if block.save_audio]:
        yield _without_effect(saving, "what people say is not kept")
    if limits := [f"{name}.max_instance" for name, block in odd.blocks.items() if block.max_instance is not None]:
        everybody = "one copy of a model serves everybody; MAX_LIVE_STREAMS and MAX_REQUESTS are the limits"
        yield f"{_listed(limits)}: at least so many are served at once, for {everybody}"


def _left(block: Block, place: str = "") -> Iterator[tuple[str, object]]:
    """Keys that no field reads, by their whole names, and their values."""
    for name, value in (block.model_extra or {}).items():
        yield place + name, value
    for name in type(block).model_fields:
        if isinstance(inner := getattr(block, name), Block):
            yield from _left(inner, f"{place}{name}.")


def _is_moot(key: str, value: object) -> bool:
    """Whether nothing is asked for: TLS that is off needs no certificate (and on, it is an error)."""
    if key == "redis_cfg" and isinstance(value, dict):
        return not value.get("redis_enabled")
    return value in (None, "", {}, []) or _WITHOUT_EFFECT.get(key) is _TLS


def _without_effect(keys: list[str], reason: str) -> str:
    return f"{_listed(keys)} {'has' if len(keys) == 1 else 'have'} no effect: {reason}"


def _listed(keys: list[str]) -> str:
    more = len(keys) - _MOST_NAMES
    return ", ".join(keys[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
