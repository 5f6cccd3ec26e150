"""What exporting writes of each kind of checkpoint: FunASR's torch modules with its own rewriting of layers for ONNX,
what they are traced and tried with, and what their tensors are called, which is as in FunASR's own exports."""

from __future__ import annotations

import importlib
import types
from dataclasses import dataclass
from typing import Any

from app.modelstore.checkpoints import LIVE_PUNCTUATION, PARTS, PUNCTUATION, STREAMING

MODEL, DECODER, BIAS_ENCODER = "model.onnx", "decoder.onnx", "model_eb.onnx"
EXPORTED = frozenset(
    name.replace(".onnx", f"{kind}.onnx") for name in (MODEL, DECODER, BIAS_ENCODER) for kind in ("", "_quant", "_fp16")
)
"""What an export may have written."""
_FEW_TERMS = 50
"""Hotwords that SeACo's decoder attends to at once; of more, those that the piece is most like."""
_FRAMES, _TERMS = 84, 7
"""Size of the trial: five seconds of features, and hotwords. Other sizes than those it is traced with."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A torch module to be written as `file`, what it is traced and tried with, and what its tensors are called."""

    file: str
    module: Any
    traced: tuple[Any, ...]
    trial: tuple[Any, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: dict[str, dict[int, str]]


def graphs_of(torch: Any, model: Any, config: dict[str, Any], vocabulary: int) -> list[Graph]:
    """What is to be written, with FunASR's own rewriting of layers for ONNX.

    Its rewriting takes a longest length and ignores it (`sequence_mask` counts up to what it is given), so that graphs
    have no limit; the trial is longer than what is traced, to see that.
    """
    named = {name: config[name] for name in PARTS if name in config}
    scripts = model.export(**named, type="onnx", device="cpu", max_seq_len=512)
    graph, *encoders = scripts if isinstance(scripts, (list, tuple)) else [scripts]
    kind = config["model"]
    if kind == STREAMING:
        return [_streaming_encoder(torch, graph), *(_streaming_decoder(torch, one) for one in encoders)]
    if kind == PUNCTUATION:
        return [_punctuation(torch, graph, vocabulary)]
    if kind == LIVE_PUNCTUATION:
        return [_live_punctuation(torch, graph, vocabulary)]
    if kind == "Paraformer":
        graph.forward = types.MethodType(_paraformer, graph)
    if kind == "SeacoParaformer":
        graph.no_bias = int(model.NO_BIAS)
        graph.forward = types.MethodType(_seaco, graph)
    return [_acoustic(torch, graph, kind), *(_bias_encoder(torch, one, vocabulary) for one in encoders)]


def _acoustic(torch: Any, module: Any, kind: str) -> Graph:
    size = int(module.encoder.model.encoders0[0].in_size)
    outputs = ("alphas",) if kind == "Paraformer" else ("us_alphas", "us_cif_peak")
    biased = kind == "SeacoParaformer"
    generator = torch.Generator().manual_seed(0)

    def noise(batch: int, frames: int, terms: int) -> tuple[Any, ...]:
        lengths = torch.linspace(frames / 2, frames, batch + 1)[1:].int()
        speech = torch.randn(batch, frames, size, generator=generator)
        width = int(module.encoder.model.output_size())
        bias = (torch.randn(batch, terms, width, generator=generator),) if biased else ()
        return speech, lengths, *bias

    axes = {"speech": {0: "batch_size", 1: "feats_length"}, "speech_lengths": {0: "batch_size"}}
    axes |= {"bias_embed": {0: "batch_size", 1: "num_hotwords"}} if biased else {}
    axes |= {"logits": {0: "batch_size", 1: "logits_length"}, "token_num": {0: "batch_size"}}
    axes |= {name: {0: "batch_size", 1: "alphas_length"} for name in outputs}
    return Graph(
        MODEL,
        module,
        traced=noise(2, 30, 3),
        trial=noise(1, _FRAMES, _TERMS),
        inputs=("speech", "speech_lengths", *(("bias_embed",) if biased else ())),
        outputs=("logits", "token_num", *outputs),
        axes=axes,
    )


def _streaming_encoder(torch: Any, module: Any) -> Graph:
    """Features with positions to encoded steps, and their weights. It remembers nothing: what was heard before comes
    again with each chunk."""
    size = int(module.encoder.model.encoders0[0].in_size)
    generator = torch.Generator().manual_seed(0)

    def noise(batch: int, frames: int) -> tuple[Any, ...]:
        lengths = torch.linspace(frames / 2, frames, batch + 1)[1:].int()
        return torch.randn(batch, frames, size, generator=generator), lengths

    inputs, outputs = ("speech", "speech_lengths"), ("enc", "enc_len", "alphas")
    axes = {name: {0: "batch_size"} for name in (*inputs, *outputs)}
    for name in ("speech", "enc", "alphas"):
        axes[name][1] = "feats_length"
    return Graph(MODEL, module, noise(2, 30), noise(1, _FRAMES), inputs, outputs, axes)


def _streaming_decoder(torch: Any, module: Any) -> Graph:
    """Embeddings of tokens to tokens. Each layer's memory of those before them goes in and comes out."""
    decoders = module.decoder.model
    layers = [*decoders.decoders, *(decoders.decoders2 or ())]
    generator = torch.Generator().manual_seed(0)

    def noise(batch: int, frames: int, tokens: int) -> tuple[Any, ...]:
        width = int(layers[0].size)
        fed: list[Any] = []
        for length in (frames, tokens):
            fed.append(torch.randn(batch, length, width, generator=generator))
            fed.append(torch.linspace(length / 2, length, batch + 1)[1:].int())
        sizes = [int(layer.self_attn.kernel_size) - 1 for layer in layers]
        return *fed, *(torch.randn(batch, width, size, generator=generator) for size in sizes)

    taken, given = ([f"{way}_cache_{number}" for number in range(len(layers))] for way in ("in", "out"))
    inputs = ("enc", "enc_len", "acoustic_embeds", "acoustic_embeds_len", *taken)
    outputs = ("logits", "sample_ids", *given)
    axes = {name: {0: "batch_size"} for name in (*inputs, *outputs)}
    axes["enc"][1] = "enc_length"
    for name in ("acoustic_embeds", "logits", "sample_ids"):
        axes[name][1] = "token_length"
    return Graph(DECODER, module, noise(2, 30, 6), noise(1, _FRAMES, 9), inputs, outputs, axes)


def _bias_encoder(torch: Any, module: Any, vocabulary: int) -> Graph:
    def terms(count: int) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(0)
        return (torch.randint(0, vocabulary, (count, 10), generator=generator).int(),)

    axes = {"hotword": {0: "num_hotwords"}, "hw_embed": {1: "num_hotwords"}}
    return Graph(BIAS_ENCODER, module, terms(6), terms(_TERMS), ("hotword",), ("hw_embed",), axes)


def _punctuation(torch: Any, module: Any, vocabulary: int) -> Graph:
    def text(batch: int, length: int) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(0)
        words = torch.randint(0, vocabulary, (batch, length), generator=generator).int()
        return words, torch.linspace(length / 2, length, batch + 1)[1:].int()

    axes = {
        "inputs": {0: "batch_size", 1: "feats_length"},
        "text_lengths": {0: "batch_size"},
        "logits": {0: "batch_size", 1: "logits_length"},
    }
    return Graph(MODEL, module, text(2, 120), text(1, 200), ("inputs", "text_lengths"), ("logits",), axes)


def _live_punctuation(torch: Any, module: Any, vocabulary: int) -> Graph:
    """One text at a time, with what each token may attend to: in the last layer, and in the others."""

    def text(length: int, pause: int) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(0)
        words = torch.randint(0, vocabulary, (1, length), generator=generator).int()
        vad = torch.ones(1, 1, length, length)
        vad[..., : pause - 1, pause:] = 0
        return words, torch.tensor([length]).int(), vad, torch.ones(1, 1, length, length).tril()

    masks = ("vad_masks", "sub_masks")
    axes = {"inputs": {1: "feats_length"}, "logits": {1: "logits_length"}}
    axes |= {name: {2: "feats_length1", 3: "feats_length2"} for name in masks}
    inputs = ("inputs", "text_lengths", *masks)
    return Graph(MODEL, module, text(120, 50), text(200, 130), inputs, ("logits",), axes)


def _paraformer(self: Any, speech: Any, speech_lengths: Any) -> tuple[Any, ...]:
    """FunASR's own graph, and the weights that time tokens: [batch, frames + 1]."""
    encoded, lengths = self.encoder(speech=speech, speech_lengths=speech_lengths)
    embeds, count, alphas, _ = self.predictor(encoded, self.make_pad_mask(lengths)[:, None, :])
    count = count.floor().int()
    scores, _ = self.decoder(encoded, lengths, embeds, count)
    return scores.log_softmax(-1), count, alphas


def _seaco(self: Any, speech: Any, speech_lengths: Any, bias_embed: Any) -> tuple[Any, ...]:
    """What SeACo computes in torch. FunASR's own graph differs where there are more than fifty hotwords: it may drop
    the "none of these", and in a batch all rows attend to what the first is like."""
    encoded, lengths = self.encoder(speech=speech, speech_lengths=speech_lengths)
    mask = self.make_pad_mask(lengths)[:, None, :]
    embeds, count, _, _ = self.predictor(encoded, mask)
    count = count.floor().int()
    scores, hidden, _ = self.decoder(encoded, lengths, embeds, count, return_hidden=True, return_both=True)
    terms, number = _likely_terms(self, bias_embed, hidden, count)
    heard, _ = self.seaco_decoder(terms, number, embeds, count)
    written, _ = self.seaco_decoder(terms, number, hidden, count)
    biased = self.hotword_output_layer(heard + written).log_softmax(-1)
    none = (biased.argmax(-1) == self.no_bias).float().unsqueeze(-1)
    alphas, peaks = self.predictor.get_upsample_timestmap(encoded, mask, count)
    return scores.log_softmax(-1) * none + biased * (1 - none), count, alphas, peaks


def _likely_terms(self: Any, bias_embed: Any, hidden: Any, count: Any) -> tuple[Any, Any]:
    """The embeddings a row of the batch attends to, and how many they are: all, or of more than `_FEW_TERMS` those with
    the most attention and, at the end, the last ("none of these"). In operations that a trace keeps."""
    torch = importlib.import_module("torch")
    every = torch.ones_like(bias_embed[:, :, 0]).sum(-1)
    said = self.make_pad_mask(count)[:, None, :, None]
    attention = (self.seaco_decoder.forward_asf6(bias_embed, every, hidden, count) * said).sum(dim=(1, 2))
    order = attention.sort(dim=-1, descending=True)[1][:, :_FEW_TERMS]
    best = bias_embed.gather(1, order[:, :, None].expand(-1, -1, bias_embed.shape[-1]))
    number = every.clamp(max=_FEW_TERMS) + (every > _FEW_TERMS).float()
    return torch.cat([best, bias_embed[:, -1:]], dim=1)[:, : number.max().long()], number
