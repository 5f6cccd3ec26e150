"""Checkpoints to ONNX: what is written, what is refused, and that no checkpoint runs code."""

from __future__ import annotations

import json
import pickle
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from models.speech import EN_SENTENCES, ZH_SENTENCES

from app.domain.errors import ModelStoreError
from app.modelstore.exporting import export
from app.modelstore.halving import halve

from .conftest import Convert

pytestmark = pytest.mark.heavy

ACOUSTIC = {"am.mvn", "config.yaml", "configuration.json", "seg_dict", "tokens.json"}


@pytest.fixture(scope="session")
def tiny(checkpoint: Callable[[str], Path]) -> Path:
    pytest.importorskip("torch")
    return checkpoint("paraformer-tiny")


@pytest.fixture
def broken(tiny: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refused(checkpoint: Path) -> str:
    """The message; nothing is left behind."""
    before = names(checkpoint.parent)
    with pytest.raises(ModelStoreError) as caught:
        export(checkpoint, checkpoint.parent / "target", progress=lambda _line: None)
    assert names(checkpoint.parent) == before
    return caught.value.message


def change_weights(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    import torch  # noqa: PLC0415 - in the heavy environment only

    weights = torch.load(checkpoint / "model.pt", weights_only=True)
    change(weights)
    torch.save(weights, checkpoint / "model.pt")


def test_paraformer_in_funasrs_layout(tiny: Path, convert: Convert) -> None:
    folder = convert(tiny).int8
    assert names(folder) == ACOUSTIC | {"model.onnx", "model_quant.onnx"}
    assert all((folder / name).read_bytes() == (tiny / name).read_bytes() for name in ACOUSTIC)
    assert (folder / "model_quant.onnx").stat().st_size < 0.5 * (folder / "model.onnx").stat().st_size
    for name in ("model.onnx", "model_quant.onnx"):
        session = ort.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        assert [one.name for one in session.get_inputs()] == ["speech", "speech_lengths"]
        assert [one.name for one in session.get_outputs()] == ["logits", "token_num", "alphas"]


def test_fp16_is_written_beside_the_others(tiny: Path, tmp_path: Path) -> None:
    export(tiny, tmp_path / "out", fp16=True, progress=lambda _line: None)
    assert names(tmp_path / "out") == ACOUSTIC | {"model.onnx", "model_quant.onnx", "model_fp16.onnx"}
    assert (tmp_path / "out/model_fp16.onnx").stat().st_size < 0.6 * (tmp_path / "out/model.onnx").stat().st_size
    full, half = (
        ort.InferenceSession(tmp_path / "out" / name, providers=["CPUExecutionProvider"])
        for name in ("model.onnx", "model_fp16.onnx")
    )
    for one, other in ((full.get_inputs(), half.get_inputs()), (full.get_outputs(), half.get_outputs())):
        assert [(tensor.name, tensor.type) for tensor in one] == [(tensor.name, tensor.type) for tensor in other]
    export(tiny, tmp_path / "out", progress=lambda _line: None)
    assert names(tmp_path / "out") == ACOUSTIC | {"model.onnx", "model_quant.onnx"}


def test_large_products_fit_into_fp16() -> None:
    """A feed-forward layer whose products are 400,000, with a constant and a branch that takes what is outside it."""
    onnx = pytest.importorskip("onnx")
    make, kinds = onnx.helper.make_node, onnx.TensorProto
    info = onnx.helper.make_tensor_value_info
    branch = onnx.helper.make_graph([make("Identity", ["sum"], ["chosen"])], "branch", [], [info("chosen", 1, None)])
    weights = {"first": np.eye(4, dtype=np.float32), "second": np.full((4, 4), 100, np.float32)}
    nodes = [
        make("MatMul", ["input", "first"], ["up"], "/layer/feed_forward/w_1/MatMul"),
        make("Relu", ["up"], ["positive"], "/layer/feed_forward/Relu"),
        make("MatMul", ["positive", "second"], ["down"], "/layer/feed_forward/w_2/MatMul"),
        make("Add", ["down", "input"], ["sum"], "/layer/Add"),
        make("ReduceMax", ["sum"], ["top"], "/ReduceMax", keepdims=0),
        make("Cast", ["top"], ["whether"], "/Cast", to=kinds.BOOL),
        make("If", ["whether"], ["output"], "/If", then_branch=branch, else_branch=branch),
    ]
    ends = [info("input", kinds.FLOAT, [1, 4])], [info("output", kinds.FLOAT, [1, 4])]
    graph = onnx.helper.make_graph(
        nodes, "layer", *ends, [onnx.numpy_helper.from_array(*w[::-1]) for w in weights.items()]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)])
    halve(onnx, model)
    onnx.checker.check_model(model, full_check=True)
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 - in the heavy environment only

    [given] = ReferenceEvaluator(model).run(None, {"input": np.array([[1000.1, 1000.1, 1000.1, 1000.1]], np.float32)})
    np.testing.assert_allclose(given, 401_000, rtol=1e-3)
    assert {one.data_type for one in model.graph.initializer if one.dims} == {kinds.FLOAT16}


def test_punctuation_is_not_had_in_fp16(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ModelStoreError, match="not served on a GPU"):
        export(checkpoint("ct-punc-tiny"), tmp_path / "out", fp16=True, progress=lambda _line: None)
    assert names(tmp_path) == set()


def test_graphs_have_no_longest_length_and_rows_do_not_mix(tiny: Path, convert: Convert) -> None:
    session = ort.InferenceSession(convert(tiny).fp32 / "model.onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(4)
    speech = rng.standard_normal((2, 1500, 560), dtype=np.float32)  # a minute and a half
    lengths = np.array([1500, 700], np.int32)
    logits, counts, alphas = session.run(None, {"speech": speech, "speech_lengths": lengths})
    assert alphas.shape == (2, 1501)
    assert np.all(np.floor(alphas.sum(axis=1)) == counts)
    for row, length in enumerate(lengths):
        alone = session.run(None, {"speech": speech[row : row + 1, :length], "speech_lengths": lengths[row : row + 1]})
        assert int(alone[1][0]) == int(counts[row])
        np.testing.assert_allclose(logits[row, : counts[row]], alone[0][0, : counts[row]], atol=1e-3)


def test_punctuation_marks_are_the_same_in_int8(checkpoint: Callable[[str], Path], convert: Convert) -> None:
    pytest.importorskip("torch")
    folder = convert(checkpoint("ct-punc-tiny")).int8
    assert names(folder) == {"config.yaml", "configuration.json", "tokens.json", "model.onnx", "model_quant.onnx"}
    ids = {token: number for number, token in enumerate(json.loads((folder / "tokens.json").read_text("utf-8")))}
    full, quantised = (
        ort.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        for name in ("model.onnx", "model_quant.onnx")
    )
    rng = random.Random(1)
    marks = 0
    for _ in range(200):
        words = [word for _ in range(rng.randint(1, 5)) for word in _sentence(rng)]
        inputs = np.array([[ids[word] for word in words]], np.int32)
        feed = {"inputs": inputs, "text_lengths": np.array([len(words)], np.int32)}
        expected, given = (session.run(None, feed)[0][0].argmax(axis=-1) for session in (full, quantised))
        assert (expected == given).all(), words
        marks += int((expected > 1).sum())
    assert marks >= 200


def _sentence(rng: random.Random) -> list[str]:
    return list(rng.choice(ZH_SENTENCES)) if rng.random() < 0.6 else rng.choice(EN_SENTENCES).split()


def test_an_earlier_export_is_replaced_whole(tiny: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    for name in ("model.onnx", "model_quant.onnx", "model_eb.onnx", "notes.txt"):
        (target / name).write_text("old", "utf-8")
    written = export(tiny, target, quantize=False, progress=lambda _line: None)
    assert {path.name for path in written} == ACOUSTIC | {"model.onnx"}
    assert names(target) == ACOUSTIC | {"model.onnx", "notes.txt"}
    assert all(path.read_bytes() != b"old" for path in written)
    assert names(tmp_path) == {"target"}


def test_a_checkpoint_may_be_its_own_target(broken: Path) -> None:
    before = names(broken)
    export(broken, broken, progress=lambda _line: None)
    assert names(broken) == before | {"model.onnx", "model_quant.onnx"}


class Evil:
    """Unpickled, it writes a file."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._marker,)


@pytest.mark.parametrize("plain", [True, False], ids=["a plain pickle", "torch's zip"])
def test_a_checkpoint_runs_no_code(broken: Path, tmp_path: Path, plain: bool) -> None:
    import torch  # noqa: PLC0415 - in the heavy environment only

    marker = tmp_path / "ran"
    if plain:
        (broken / "model.pt").write_bytes(pickle.dumps({"evil": Evil(marker)}))
    else:
        torch.save({"evil": Evil(marker)}, broken / "model.pt")
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists()  # it would
    marker.unlink()
    message = refused(broken)
    assert "model.pt" in message
    assert "run code" in message
    assert not marker.exists()


def test_half_a_checkpoint(broken: Path) -> None:
    whole = (broken / "model.pt").read_bytes()
    for rest in (whole[: len(whole) // 2], b"", b"PK\x03\x04"):
        (broken / "model.pt").write_bytes(rest)
        assert "model.pt of the checkpoint" in refused(broken)
    (broken / "model.pt").unlink()
    assert "model.pt of the checkpoint cannot be read: No such file" in refused(broken)


def test_parameters_that_are_missing_of_other_shapes_or_no_numbers(broken: Path) -> None:
    whole = (broken / "model.pt").read_bytes()
    name = "decoder.output_layer.weight"
    for change, message in (
        (lambda weights: weights.pop(name), f"lacks 1 parameters: {name}"),
        (lambda weights: weights.update({name: weights[name][:-1]}), f"of other shapes.*: {name}"),
        (lambda weights: weights[name].fill_(float("nan")), f"not numbers: {name}"),
    ):
        (broken / "model.pt").write_bytes(whole)
        change_weights(broken, change)
        assert re.search(message, refused(broken))


def test_another_vocabulary(broken: Path) -> None:
    tokens = json.loads((broken / "tokens.json").read_text("utf-8"))
    (broken / "tokens.json").write_text(json.dumps(tokens[:-1], ensure_ascii=False), "utf-8")
    assert "of other shapes than config.yaml and tokens.json say" in refused(broken)


@pytest.mark.parametrize(
    ("said", "instead", "message"),
    [
        ("encoder: SANMEncoder", "encoder: NoSuchEncoder", "describes no model that can be built"),
        ("attention_heads: 4", "attention_heads: 3", "describes no model that can be built"),
        ("encoder: SANMEncoder", "encoder: ConformerEncoder", "of the checkpoint"),
    ],
)
def test_a_configuration_of_something_else(broken: Path, said: str, instead: str, message: str) -> None:
    text = (broken / "config.yaml").read_text("utf-8")
    assert said in text
    (broken / "config.yaml").write_text(text.replace(said, instead, 1), "utf-8")
    assert message in refused(broken)


def test_a_folder_that_cannot_be_written(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ModelStoreError, match="cannot be written"):
        export(tiny, tmp_path / "file" / "target", progress=lambda _line: None)
