"""Operators that the tracing exporter has no clean form for.

``mark`` names an internal value: it leaves a node of the domain ``wav2edge``, which the pass ``name_values`` removes.
``divide`` is ONNX's integer Div; torch's division would convert to floats, inexact above 2^24 samples.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .marks import DOMAIN, NAME


class _TracedValue(Protocol):
    """A value of the graph that torch traces (``torch._C.Value``)."""

    def type(self) -> object: ...
    def setType(self, kind: object) -> _TracedValue: ...


class _TracedGraph(Protocol):
    """The graph that torch traces (``GraphContext``)."""

    def op(self, name: str, *inputs: _TracedValue, **attributes: object) -> _TracedValue: ...


class _Name(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, value: Tensor, name: str) -> Tensor:
        return value.clone()

    @staticmethod
    def symbolic(graph: _TracedGraph, value: _TracedValue, name: str) -> _TracedValue:
        return graph.op(f"{DOMAIN}::{NAME}", value, name_s=name).setType(value.type())


class _Divide(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, value: Tensor, divisor: int) -> Tensor:
        return torch.div(value, divisor, rounding_mode="trunc")

    @staticmethod
    def symbolic(graph: _TracedGraph, value: _TracedValue, divisor: int) -> _TracedValue:
        constant = graph.op("Constant", value_t=torch.tensor(divisor, dtype=torch.int64))
        return graph.op("Div", value, constant).setType(value.type())


def mark(value: Tensor, name: str) -> Tensor:
    """The same value, to be called ``name`` in the exported graph."""
    result: Tensor = _Name.apply(value, name)  # type: ignore[no-untyped-call]
    return result


def divide(value: Tensor, divisor: int) -> Tensor:
    """An int64 tensor divided by a positive number, truncated."""
    result: Tensor = _Divide.apply(value, divisor)  # type: ignore[no-untyped-call]
    return result
