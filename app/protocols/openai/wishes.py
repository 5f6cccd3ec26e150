"""From form fields to recognition options: every value checked, and what the model cannot do refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import cast

from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.options import RecognitionOptions, SpeechDetection, Task
from app.protocols.forms import Form, bounded, chosen
from app.protocols.languages import spoken_language
from app.protocols.openai.speakers import DIARIZED, SHOWING, SPEAKER_FIELDS, SpeakerWishes, read_speaker_wishes
from app.protocols.openai.text import TEXT_FIELDS, TextWishes, read_text_wishes
from app.service.models import ServedModel
from app.settings import Settings

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", DIARIZED)
STREAMED_FORMATS = ("json", "text", DIARIZED)
GRANULARITIES = ("word", "segment")
INCLUDES = ("logprobs",)
ADDRESS = "audio_address"
"""Where the recording lies, if it is not in the request; funasr-api's name for it."""
MAX_PROMPT_CHARACTERS = 10_000
MAX_MILLISECONDS = 60_000
"""A minute of silence or padding: beyond it, detection has no meaning left."""

KNOWN_FIELDS = (
    SPEAKER_FIELDS
    | TEXT_FIELDS
    | frozenset(
        {
            "file",
            ADDRESS,
            "model",
            "language",
            "languages",
            "prompt",
            "response_format",
            "temperature",
            "timestamp_granularities",
            "include",
            "chunking_strategy",
            "stream",
            "word_timestamps",
        }
    )
)
_DETECTION_KEYS = frozenset({"type", "threshold", "prefix_padding_ms", "silence_duration_ms"})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one request asks for: of the recogniser, and of the answer's shape."""

    options: RecognitionOptions
    format: str
    stream: bool
    words: bool
    speakers: SpeakerWishes
    text: TextWishes


def read_wishes(form: Form, task: Task, model: ServedModel, settings: Settings, *, any_format: bool = False) -> Wishes:
    """The request's wishes, all of which `model` can fulfil.

    `any_format`: the transcript is kept, and may be asked for in other formats than the one that is named; so it gets
    times, and speakers, whether this one shows them or not.

    Raises:
        InvalidParameter: a value makes no sense.
        UnsupportedFeature: it makes sense, but not to this model.
    """
    able = model.capabilities
    if task not in able.tasks:
        raise UnsupportedFeature(f"{model.id} cannot {task}.", param="model")
    stream = _streams(form, task)
    shape = _format(form, stream=stream, default=settings.openai_default_format)
    logprobs = _logprobs(form, model, shape="json" if stream else shape)
    words = _words(form, model, wanted=any_format or (shape == "verbose_json" and not stream))
    showing = shape if shape in SHOWING or not any_format else "verbose_json"
    speakers = read_speaker_wishes(form, task, showing, settings)
    options = RecognitionOptions(
        language=_language(form.text("language"), "language", model),
        languages=_languages(form, model),
        prompt=_prompt(form, model),
        temperature=_temperature(form, model),
        task=task,
        timed=any_format or logprobs or speakers.split_channels or shape == DIARIZED or shape not in STREAMED_FORMATS,
        logprobs=logprobs,
        detection=_detection(form),
        speakers=speakers.options,
        split_channels=speakers.split_channels,
        channel_roles=speakers.roles,
    )
    return Wishes(options, shape, stream, words, speakers, read_text_wishes(form, model, settings))


def _streams(form: Form, task: Task) -> bool:
    stream = form.flag("stream") or False
    if stream and task == "translate":
        raise InvalidParameter("Translations are not streamed.", param="stream")
    return stream


def _format(form: Form, *, stream: bool, default: str) -> str:
    shape = form.choice("response_format", FORMATS)
    if not stream:
        return shape or default
    if shape is not None and shape not in STREAMED_FORMATS:
        raise InvalidParameter(
            f"stream=true goes with {' or '.join(STREAMED_FORMATS)}, not with {shape}.", param="stream"
        )
    return shape or "json"


def _logprobs(form: Form, model: ServedModel, *, shape: str) -> bool:
    asked = [chosen(item, "include", INCLUDES) for item in form.items("include")]
    if not asked:
        return False
    if shape not in {"json", "verbose_json"}:
        raise InvalidParameter(f"logprobs have no place in response_format={shape}.", param="include")
    return _able(model, "logprobs", "include", "give token probabilities")


def _words(form: Form, model: ServedModel, *, wanted: bool) -> bool:
    """Whether word times are asked for. In answers that have none the wish is harmless: some SDKs always send it."""
    by_granularity = "word" in _granularities(form)
    if not (by_granularity or form.flag("word_timestamps")) or not wanted:
        return False
    return _able(model, "word_times", "timestamp_granularities" if by_granularity else "word_timestamps", "time words")


def _granularities(form: Form) -> set[str]:
    name = "timestamp_granularities"
    return {chosen(item, name, GRANULARITIES) for item in form.items(name)}


def _prompt(form: Form, model: ServedModel) -> str:
    prompt = (form.text("prompt") or "").strip()
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise InvalidParameter(f"prompt has more than {MAX_PROMPT_CHARACTERS} characters.", param="prompt")
    if prompt:
        _able(model, "prompt", "prompt", "take a prompt")
    return prompt


def _temperature(form: Form, model: ServedModel) -> float:
    temperature = form.number("temperature", 0.0, 1.0) or 0.0
    if temperature:
        _able(model, "temperature", "temperature", "sample with a temperature")
    return temperature


def _languages(form: Form, model: ServedModel) -> tuple[str, ...]:
    codes = (_language(item, "languages", model) for item in form.items("languages"))
    return tuple(dict.fromkeys(code for code in codes if code))


def _language(said: str | None, param: str, model: ServedModel) -> str | None:
    if said is None or said.strip().lower() == "auto":
        return None
    return spoken_language(said, model, param=param)


def _detection(form: Form) -> SpeechDetection:
    """chunking_strategy: "auto", or server_vad with its figures as JSON or as bracketed fields."""
    name = "chunking_strategy"
    said = (form.text(name) or "").strip()
    fields: dict[str, object] = dict(form.nested(name))
    if said and fields:
        raise InvalidParameter(f"{name} was sent twice: as a value and in brackets.", param=name)
    if said.startswith("{"):
        fields = _json_object(said, name)
    elif said not in {"", "auto", "null"}:
        fields = {"type": said}
    if not fields or fields == {"type": "auto"}:
        return SpeechDetection()
    if fields.get("type") != "server_vad" or not fields.keys() <= _DETECTION_KEYS:
        keys = ", ".join(sorted(_DETECTION_KEYS - {"type"}))
        raise InvalidParameter(f"{name} must be auto, or of type server_vad with {keys}.", param=name)
    return SpeechDetection(
        threshold=_figure(fields, "threshold", 1.0),
        silence_seconds=_milliseconds(fields, "silence_duration_ms"),
        padding_seconds=_milliseconds(fields, "prefix_padding_ms"),
    )


def _milliseconds(fields: dict[str, object], key: str) -> float | None:
    figure = _figure(fields, key, MAX_MILLISECONDS)
    return None if figure is None else figure / 1000


def _figure(fields: dict[str, object], key: str, most: float) -> float | None:
    value = fields.get(key)
    return None if value is None else bounded(value, f"chunking_strategy[{key}]", 0.0, most)


def _json_object(text: str, name: str) -> dict[str, object]:
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"{name} looks like a JSON object and is none.", param=name) from error
    return cast("dict[str, object]", parsed)


def _able(model: ServedModel, ability: str, param: str, what: str) -> bool:
    """True, or the refusal: a wish the model cannot fulfil is never dropped in silence."""
    if not getattr(model.capabilities, ability):
        raise UnsupportedFeature(f"{model.id} cannot {what}; leave {param} out.", param=param)
    return True
