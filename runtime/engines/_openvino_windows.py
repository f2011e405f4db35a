"""How an OpenVINO model holds the windows of a convolution that calibration/passes/windows.py writes as a product.

Rows of frames side by side, where windows do not overlap; otherwise such rows joined with themselves, shifted by one
row, by two …, and padded with zeros at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._openvino_chains import constant_of, source_of

if TYPE_CHECKING:
    from openvino import Node, Output


@dataclass(frozen=True)
class Windows:
    """Windows of ``taps`` frames, ``stride`` apart."""

    frames: Output
    """What they are windows of [batch, frames, channels]."""
    channels: int
    taps: int
    stride: int


def windows_of(node: Node) -> Windows | None:
    """The windows that a node holds [batch, windows, taps · channels]; None where it holds other numbers."""
    joined = node.get_type_name() == "Concat"
    rows = source_of(node, 0) if joined else node
    if rows is None or rows.get_type_name() != "Reshape" or (joined and not _are_shifted(node, rows)):
        return None
    frames = rows.input_value(0)
    shapes = [output.get_partial_shape() for output in (frames, rows.output(0), node.output(0))]
    if any(shape.rank.is_dynamic or len(shape) != 3 or shape[2].is_dynamic for shape in shapes):
        return None
    channels, row, window = (shape[2].get_length() for shape in shapes)
    if row % channels or window % channels or (order := constant_of(rows.input_value(1))) is None or order[1] != -1:
        return None
    return Windows(frames, channels, window // channels, row // channels)


def _are_shifted(joined: Node, rows: Node) -> bool:
    """Whether rows are joined with themselves, each part shifted by one row more."""
    parts = [source_of(joined, index) for index in range(1, joined.get_input_size())]
    if not parts or joined.get_axis() not in (2, -1):
        return False
    return all(_is_shifted(part, rows, shift) for shift, part in enumerate(parts, 1))


def _is_shifted(part: Node | None, rows: Node, shift: int) -> bool:
    if part is None or part.get_type_name() != "Pad":
        return False
    before, after = (constant_of(part.input_value(index)) for index in (1, 2))
    cut = part.input_value(0).get_node()
    if cut.get_type_name() != "Slice" or cut.input_value(0).get_node() != rows or before is None or after is None:
        return False
    start = constant_of(cut.input_value(1))
    return start is not None and start.tolist() == [shift, 0] and [*before, *after] == [0, 0, 0, 0, shift, 0]
