"""What a request asks for in its address, as whisper-asr-webservice names it. What that leaves out, a form may say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.options import RecognitionOptions, Task
from app.domain.speakers import SpeakerOptions
from app.protocols.asked_speakers import asked_speakers
from app.protocols.forms import Form, chosen
from app.protocols.languages import spoken_language
from app.protocols.openai.speakers import MAX_SPEAKERS
from app.protocols.openai.wishes import MAX_PROMPT_CHARACTERS
from app.protocols.payload import Payload
from app.service.residents import ServedModel
from app.service.service import SpeechService

OUTPUTS = ("txt", "vtt", "srt", "tsv", "json")
TASKS = ("transcribe", "translate")
NAMES = (
    "task",
    "language",
    "initial_prompt",
    "vad_filter",
    "word_timestamps",
    "output",
    "encode",
    "diarize",
    "min_speakers",
    "max_speakers",
)
_ALIASES = {"text": "txt"}
"""What that service's documentation calls it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted: of the recogniser, and of the answer. `words`: it has the words' times."""

    options: RecognitionOptions
    output: str
    words: bool


def parameters(request: Request, form: Form) -> Payload:
    """Those of the address; what it leaves out, the form may say.

    Raises:
        InvalidParameter: a field of the form was sent twice, or as a file.
    """
    said = {name: form.text(name) for name in NAMES if name not in request.query_params}
    return Payload(said, dict(request.query_params))


def without_header(said: Payload) -> bool:
    """Whether the file is samples without a header: 16-bit, little-endian, 16 kHz, one channel.

    Raises:
        InvalidParameter: it is neither true nor false.
    """
    return not said.flag("encode", default=True)


def read_asked(said: Payload, model: ServedModel, service: SpeechService) -> Asked:
    """Everything else, all of which `model` can do.

    Raises:
        InvalidParameter: a value makes no sense.
        UnsupportedFeature: it makes sense, but not to this model, or this server.
    """
    said.choice("vad_filter")  # makes no difference: silence is never recognised here
    output = said.text("output") or "txt"
    output = chosen(_ALIASES.get(output, output), "output", OUTPUTS)
    speakers = _speakers(said, service)
    options = RecognitionOptions(
        language=_language(said, model),
        prompt=_prompt(said, model),
        task=_task(said, model),
        speakers=speakers,
    )
    return Asked(options, output, _words(said, model) and output == "json")


def _task(said: Payload, model: ServedModel) -> Task:
    task = cast("Task", chosen(said.text("task") or "transcribe", "task", TASKS))
    if task not in model.capabilities.tasks:
        raise UnsupportedFeature(f"{model.id} cannot {task}.", param="task")
    return task


def _language(said: Payload, model: ServedModel) -> str | None:
    language = said.text("language")
    if language is None or language.lower() == "auto":
        return None
    return spoken_language(language, model)


def _prompt(said: Payload, model: ServedModel) -> str:
    prompt = said.text("initial_prompt", longest=MAX_PROMPT_CHARACTERS) or ""
    if prompt and not model.capabilities.prompt:
        raise UnsupportedFeature(f"{model.id} cannot take a prompt; leave it out.", param="initial_prompt")
    return prompt


def _words(said: Payload, model: ServedModel) -> bool:
    wanted = said.flag("word_timestamps", default=False)
    if wanted and not model.capabilities.word_times:
        raise UnsupportedFeature(f"{model.id} cannot time words; leave it out.", param="word_timestamps")
    return wanted


def _speakers(said: Payload, service: SpeechService) -> SpeakerOptions | None:
    """Nobody is told apart where nobody asks: who makes subtitles of films wants no names in them."""
    least = said.count("min_speakers", 1, 1, MAX_SPEAKERS)
    most = said.count("max_speakers", MAX_SPEAKERS, 1, MAX_SPEAKERS)
    if least > most:
        raise InvalidParameter("min_speakers is more than max_speakers.", param="min_speakers")
    asked, param = said.choice("diarize"), "diarize"
    if asked is None:  # how many there are is of interest to nobody else
        given = [name for name in ("min_speakers", "max_speakers") if said.value(name) is not None]
        asked, param = bool(given), next(iter(given), param)
    if asked_speakers(asked, service, param=param) is None:
        return None
    return SpeakerOptions(least=least, most=None if said.value("max_speakers") is None else most)
