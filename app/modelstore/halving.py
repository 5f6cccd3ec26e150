"""An exported Paraformer's graph from fp32 to fp16, for GPUs: the products, which are nearly all of the work.

ONNX Runtime's own converter does not do: it rounds whatever passes from one fp32 node to another, writes two nodes of
one name, and leaves the branches of an If without the casts they need.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

_HALF = re.compile(r"/(self_attn|src_attn|feed_forward)/(?!norm|w_2/Add)")
"""Names of nodes computed in fp16. Sums along the layers and norms, which need the range, and the predictor, which
counts tokens by rounding a sum down, are not."""
_LARGE = re.compile(r"/feed_forward/w_2/MatMul$")
_SHRUNK = 64.0
"""By how much the weights of `_LARGE` are divided and its products multiplied: what published models add up along their
layers is said to be beyond fp16's 65,504 (FunASR's own conversion scales it down, too)."""


def halve(onnx: Any, model: Any) -> None:
    """Change `model`, a ModelProto of the package `onnx`. Its inputs and outputs stay fp32."""
    _Halving(onnx, model).rewrite()


class _Halving:
    """One model's graph, rewritten node by node: `_HALF` nodes compute in fp16, with casts where values come in and go
    out."""

    def __init__(self, onnx: Any, model: Any) -> None:
        self._onnx, self._graph = onnx, model.graph
        known = (*onnx.shape_inference.infer_shapes(model).graph.value_info, *model.graph.input)
        self._floats = {value.name for value in known if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        self._weights = {one.name: one for one in model.graph.initializer}
        self._halves = {output for node in model.graph.node if _HALF.search(node.name) for output in node.output}
        self._made: set[str] = set()
        self._nodes: list[Any] = []

    def rewrite(self) -> None:
        """Change the model."""
        for node in self._graph.node:
            half, large = _HALF.search(node.name) is not None, _LARGE.search(node.name) is not None
            for place, name in enumerate(node.input):
                if half and name in self._weights:
                    node.input[place] = self._weight(name, _SHRUNK if large else 1.0)
                elif name in self._floats and half != (name in self._halves):
                    node.input[place] = self._cast(name, half=half)
            if half:
                self._constants(node)
            self._nodes.append(node)
            if large:
                self._enlarge(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        used = _used(self._graph)
        for place in reversed(range(len(self._graph.initializer))):
            if self._graph.initializer[place].name not in used:
                del self._graph.initializer[place]

    def _weight(self, name: str, divisor: float) -> str:
        """The name of a weight's fp16 copy; numbers that are no fractions stay what they are."""
        if self._weights[name].data_type != self._onnx.TensorProto.FLOAT:
            return name
        copy = f"{name}_half_{divisor:g}"
        if copy not in self._made:
            self._made.add(copy)
            values = (self._onnx.numpy_helper.to_array(self._weights[name]) / divisor).astype(np.float16)
            self._graph.initializer.append(self._onnx.numpy_helper.from_array(values, copy))
        return copy

    def _cast(self, name: str, *, half: bool) -> str:
        copy = f"{name}_{'half' if half else 'whole'}"
        if copy not in self._made:
            self._made.add(copy)
            kind = self._onnx.TensorProto.FLOAT16 if half else self._onnx.TensorProto.FLOAT
            self._nodes.append(self._onnx.helper.make_node("Cast", [name], [copy], name=copy, to=kind))
        return copy

    def _constants(self, node: Any) -> None:
        """What a node holds in fp32, or makes fp32, becomes fp16."""
        kinds = self._onnx.TensorProto
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == kinds.FLOAT:
                attribute.i = kinds.FLOAT16
            if attribute.name == "value" and attribute.t.data_type == kinds.FLOAT:
                values = self._onnx.numpy_helper.to_array(attribute.t).astype(np.float16)
                attribute.t.CopyFrom(self._onnx.numpy_helper.from_array(values, attribute.t.name))

    def _enlarge(self, node: Any) -> None:
        """What `node` computes with smaller weights, in fp32 and times `_SHRUNK`, under its old name."""
        [name] = node.output
        node.output[0] = f"{name}_small"
        self._halves.discard(name)
        factor = self._onnx.numpy_helper.from_array(np.float32(_SHRUNK), f"{name}_factor")
        self._graph.initializer.append(factor)
        inputs = [self._cast(node.output[0], half=False), factor.name]
        self._nodes.append(self._onnx.helper.make_node("Mul", inputs, [name], name=f"{name}_enlarged"))


def _used(graph: Any) -> set[str]:
    """The names that nodes take, those in branches too."""
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return {name for node in graph.node for name in node.input}.union(*map(_used, inner))
