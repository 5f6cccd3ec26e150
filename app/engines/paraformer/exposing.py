"""An output that an exported graph computes and does not give: the weights that time tokens.

FunASR's export of the plain model gives scores and how many tokens there are, which is the sum of the weights, rounded
down. So the weights are found by walking back from the count, and named among the outputs. Only the few fields of the
ONNX format that this takes are described here; protobuf keeps the rest as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from app.domain.errors import EngineFailure

COUNT = "token_num"
_STEPS = frozenset({"Cast", "Floor", "Squeeze", "Identity"})
"""What lies between the sum and the count."""
_FIELDS: tuple[tuple[str, tuple[tuple[str, int, bool, str], ...]], ...] = (
    ("Model", (("graph", 7, False, "Graph"),)),
    ("Graph", (("node", 1, True, "Node"), ("output", 12, True, "Value"))),
    ("Node", (("input", 1, True, ""), ("output", 2, True, ""), ("op_type", 4, False, ""))),
    ("Value", (("name", 1, False, ""),)),
)
"""Message, and its fields: name, number (as in onnx.proto), whether repeated, and message type ("" for text)."""


def with_weights(path: Path) -> tuple[str, bytes]:
    """The weights' name in the graph in `path`, and the model with them among its outputs.

    Raises:
        EngineFailure: the count is not computed as FunASR's export does.
    """
    try:
        model = _message_class().FromString(path.read_bytes())
    except DecodeError as error:
        raise EngineFailure(f"{path.name} is not a whole ONNX model.") from error
    name = _summed(model.graph)
    if name is None:
        raise EngineFailure(f"{path.name} gives no word times: {COUNT} is not a sum of weights in it.")
    model.graph.output.add().name = name
    return name, cast("bytes", model.SerializeToString())


def _summed(graph: Any) -> str | None:
    makers = {output: node for node in graph.node for output in node.output}
    name: str = COUNT
    for _ in range(16):
        node = makers.get(name)
        if node is None or not node.input:
            return None
        name = node.input[0]
        if node.op_type == "ReduceSum":
            return name
        if node.op_type not in _STEPS:
            return None
    return None


def _message_class() -> Any:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="onnx_outputs.proto", package="onnx_outputs", syntax="proto2")
    for message, fields in _FIELDS:
        described = file.message_type.add(name=message)
        for field, number, repeated, kind in fields:
            described.field.add(
                name=field,
                number=number,
                label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE if kind else kinds.TYPE_STRING,
                type_name=f".onnx_outputs.{kind}" if kind else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("onnx_outputs.Model"))
