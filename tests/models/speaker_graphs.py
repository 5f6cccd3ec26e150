"""Recipe of the two weightless graphs in app/engines/speakers: CAM++ and the segmentation model, as published, without a number.

    python -m tests.models.speaker_graphs

writes them anew. Each weight is an initializer whose data is said to lie elsewhere ("external"), so that ONNX Runtime
takes it from memory when a session is made; its name is the parameter's name in the published checkpoint. Needs onnx.

Sources: Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware Masking", 2023;
Bredin and Laurent, "End-to-end speaker segmentation for overlap-aware resegmentation", 2021; Plaquet and Bredin,
"Powerset multi-class cross entropy loss for neural speaker diarization", 2023; and the shapes in the checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GRAPHS = Path(__file__).resolve().parents[2] / "app" / "engines" / "speakers"
OPSET, IR = 17, 8
_NOWHERE = "given-when-loaded"
"""Where external data is said to lie; nothing reads it."""


class Graph:
    """Nodes and parameters in the making. Every method returns the name of what it computes."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        number = len(self._nodes)
        names = [f"{kind}_{number}" + (f"_{index}" if index else "") for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names[0]

    def weight(self, name: str, *shape: int) -> str:
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", _NOWHERE), ("offset", "0"), ("length", str(4 * int(np.prod(shape))))):
            tensor.external_data.add(key=key, value=value)
        self._initializers.append(tensor)
        return name

    def constant(self, value: Sequence[int] | float) -> str:
        array = np.array(value, np.float32 if isinstance(value, float) else np.int64)
        name = f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def conv(self, at: str, name: str, shape: Sequence[int], *, bias: bool = False, **attributes: object) -> str:
        parameters = [self.weight(f"{name}.weight", *shape)]
        if bias:
            parameters.append(self.weight(f"{name}.bias", shape[0]))
        return self.node("Conv", at, *parameters, kernel_shape=list(shape[2:]), **attributes)

    def norm(self, at: str, name: str, size: int) -> str:
        parameters = [self.weight(f"{name}.{part}", size) for part in ("weight", "bias", "running_mean", "running_var")]
        return self.node("BatchNormalization", at, *parameters, epsilon=1e-5)

    def norm_relu(self, at: str, name: str, size: int) -> str:
        return self.node("Relu", self.norm(at, name, size))

    def model(self, name: str, source: tuple[str, list[object]], result: tuple[str, list[object]]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, source[1])],
            [helper.make_tensor_value_info(result[0], TensorProto.FLOAT, result[1])],
            self._initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def campplus() -> onnx.ModelProto:
    """80 log mel energies (batch, frames, 80) -> voice embedding (batch, 192)."""
    graph = Graph()
    at = graph.node("Transpose", "features", perm=[0, 2, 1])
    at = _tdnn(graph, _head(graph, graph.node("Unsqueeze", at, graph.constant([1]))))
    frames = graph.node("Slice", graph.node("Shape", at), graph.constant([2]), graph.constant([3]))
    channels = 128
    for block, (layers, dilation) in enumerate(((12, 1), (24, 2), (16, 2)), start=1):
        for layer in range(1, layers + 1):
            name = f"xvector.block{block}.tdnnd{layer}"
            at = graph.node("Concat", at, _dense_layer(graph, at, name, channels, dilation, frames), axis=1)
            channels += 32
        name = f"xvector.transit{block}"
        at = graph.norm_relu(at, f"{name}.nonlinear.batchnorm", channels)
        at = graph.conv(at, f"{name}.linear", (channels // 2, channels, 1))
        channels //= 2
    at = graph.norm_relu(at, "xvector.out_nonlinear.batchnorm", channels)
    at = graph.conv(_statistics(graph, at, frames), "xvector.dense.linear", (192, 2 * channels, 1))
    # Normalised without scale and shift: those two of the four are constants that no checkpoint has.
    mean, variance = (
        graph.weight(f"xvector.dense.nonlinear.batchnorm.running_{part}", 192) for part in ("mean", "var")
    )
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.constant(1e-5)))
    at = graph.node("Squeeze", at, graph.constant([2]))
    result = graph.node("Div", graph.node("Sub", at, mean), deviation)
    return graph.model("campplus", ("features", ["batch", "frames", 80]), (result, ["batch", 192]))


def _head(graph: Graph, at: str) -> str:
    """Two-dimensional convolutions that quarter the frequencies and keep the frames: (batch, 320, frames)."""
    at = graph.norm_relu(graph.conv(at, "head.conv1", (32, 1, 3, 3), pads=[1, 1, 1, 1]), "head.bn1", 32)
    for layer, block in ((1, 0), (1, 1), (2, 0), (2, 1)):
        at = _residual(graph, at, f"head.layer{layer}.{block}", stride=1 if block else 2)
    at = graph.conv(at, "head.conv2", (32, 32, 3, 3), pads=[1, 1, 1, 1], strides=[2, 1])
    return graph.node("Reshape", graph.norm_relu(at, "head.bn2", 32), graph.constant([0, 320, -1]))


def _residual(graph: Graph, at: str, name: str, stride: int) -> str:
    inner = graph.conv(at, f"{name}.conv1", (32, 32, 3, 3), pads=[1, 1, 1, 1], strides=[stride, 1])
    inner = graph.norm_relu(inner, f"{name}.bn1", 32)
    inner = graph.norm(graph.conv(inner, f"{name}.conv2", (32, 32, 3, 3), pads=[1, 1, 1, 1]), f"{name}.bn2", 32)
    if stride > 1:
        at = graph.norm(
            graph.conv(at, f"{name}.shortcut.0", (32, 32, 1, 1), strides=[stride, 1]), f"{name}.shortcut.1", 32
        )
    return graph.node("Relu", graph.node("Add", inner, at))


def _tdnn(graph: Graph, at: str) -> str:
    at = graph.conv(at, "xvector.tdnn.linear", (128, 320, 5), pads=[2, 2], strides=[2])
    return graph.norm_relu(at, "xvector.tdnn.nonlinear.batchnorm", 128)


def _dense_layer(graph: Graph, at: str, name: str, channels: int, dilation: int, frames: str) -> str:
    """32 new channels, masked by what the whole and the surrounding 100 frames are like.

    The mask is computed once for each 100 frames and then repeated; computing it for each frame gives the same.
    """
    at = graph.norm_relu(at, f"{name}.nonlinear1.batchnorm", channels)
    at = graph.conv(at, f"{name}.linear1", (128, channels, 1))
    at = graph.norm_relu(at, f"{name}.nonlinear2.batchnorm", 128)
    local = graph.conv(
        at, f"{name}.cam_layer.linear_local", (32, 128, 3), pads=[dilation, dilation], dilations=[dilation]
    )
    whole = graph.node("ReduceMean", at, axes=[2], keepdims=1)
    around = graph.node("AveragePool", at, kernel_shape=[100], strides=[100], ceil_mode=1)
    context = graph.node("Add", around, whole)
    context = graph.node("Relu", graph.conv(context, f"{name}.cam_layer.linear1", (64, 128, 1), bias=True))
    mask = graph.node("Sigmoid", graph.conv(context, f"{name}.cam_layer.linear2", (32, 64, 1), bias=True))
    mask = graph.node("Expand", graph.node("Unsqueeze", mask, graph.constant([3])), graph.constant([1, 1, 1, 100]))
    mask = graph.node("Reshape", mask, graph.constant([0, 32, -1]))
    return graph.node("Mul", local, graph.node("Slice", mask, graph.constant([0]), frames, graph.constant([2])))


def _statistics(graph: Graph, at: str, frames: str) -> str:
    """Mean and (unbiased) standard deviation over time: (batch, 2 * channels, 1)."""
    mean = graph.node("ReduceMean", at, axes=[2], keepdims=1)
    offset = graph.node("Sub", at, mean)
    squares = graph.node("ReduceSum", graph.node("Mul", offset, offset), graph.constant([2]), keepdims=1)
    free = graph.node("Sub", graph.node("Cast", frames, to=TensorProto.FLOAT), graph.constant(1.0))
    deviation = graph.node("Sqrt", graph.node("Div", squares, free))
    return graph.node("Concat", mean, deviation, axis=1)


def segmentation() -> onnx.ModelProto:
    """Sound (batch, 1, samples) -> log-probability of each set of speakers, (batch, frames, 7).

    The 80 filters of the first layer ("sincnet.conv1d.0.filters") are made from its parameters, and LSTM weights are in
    ONNX's order of gates: both are the loader's work.
    """
    graph = Graph()
    scale, shift = (graph.weight(f"sincnet.wav_norm1d.{part}", 1) for part in ("weight", "bias"))
    at = graph.node("InstanceNormalization", "sound", scale, shift, epsilon=1e-5)
    at = graph.node("Conv", at, graph.weight("sincnet.conv1d.0.filters", 80, 1, 251), strides=[10], kernel_shape=[251])
    at = _pooled(graph, graph.node("Abs", at), 0, 80)
    at = _pooled(graph, graph.conv(at, "sincnet.conv1d.1", (60, 80, 5), bias=True), 1, 60)
    at = _pooled(graph, graph.conv(at, "sincnet.conv1d.2", (60, 60, 5), bias=True), 2, 60)
    at = graph.node("Transpose", at, perm=[2, 0, 1])
    for layer in range(4):
        at = _lstm(graph, at, layer, 256 if layer else 60)
    at = graph.node("Transpose", at, perm=[1, 0, 2])
    for name, inside, outside in (("linear.0", 256, 128), ("linear.1", 128, 128), ("classifier", 128, 7)):
        at = graph.node("MatMul", at, graph.weight(f"{name}.transposed", inside, outside))
        at = graph.node("Add", at, graph.weight(f"{name}.bias", outside))
        if name != "classifier":
            at = graph.node("LeakyRelu", at, alpha=0.01)
    at = graph.node("LogSoftmax", at, axis=-1)
    return graph.model("segmentation", ("sound", ["batch", 1, "samples"]), (at, ["batch", "frames", 7]))


def _pooled(graph: Graph, at: str, layer: int, channels: int) -> str:
    at = graph.node("MaxPool", at, kernel_shape=[3], strides=[3])
    scale, shift = (graph.weight(f"sincnet.norm1d.{layer}.{part}", channels) for part in ("weight", "bias"))
    return graph.node("LeakyRelu", graph.node("InstanceNormalization", at, scale, shift, epsilon=1e-5), alpha=0.01)


def _lstm(graph: Graph, at: str, layer: int, width: int) -> str:
    weights = (
        graph.weight(f"lstm.{layer}.W", 2, 512, width),
        graph.weight(f"lstm.{layer}.R", 2, 512, 128),
        graph.weight(f"lstm.{layer}.B", 2, 1024),
    )
    at = graph.node("LSTM", at, *weights, hidden_size=128, direction="bidirectional")
    at = graph.node("Transpose", at, perm=[0, 2, 1, 3])  # (frames, directions, batch, 128) to (frames, batch, both)
    return graph.node("Reshape", at, graph.constant([0, 0, 256]))


def write(folder: Path = GRAPHS) -> list[Path]:
    """Write both graphs; where they are."""
    paths = [folder / "campplus.onnx", folder / "segmentation.onnx"]
    for path, model in zip(paths, (campplus(), segmentation()), strict=True):
        path.write_bytes(model.SerializeToString(deterministic=True))
    return paths


if __name__ == "__main__":
    for path in write():
        print(path, path.stat().st_size)
