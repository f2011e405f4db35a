"""A contract graph with the inputs and outputs of other runtimes gives each clip the labels of its own run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from wav2edge.graphs import interface
from wav2edge.graphs.graph import Graph

LABELS = 4
BLANK, WORD_END, SILENT, LETTER = range(LABELS)
"""A sample of value n gives a frame whose best label is n."""


@pytest.fixture(params=[17, 20])
def graph(request: pytest.FixtureRequest) -> Graph:
    """A model of one frame for each sample: the logits are high at the label that the sample's value names.

    Samples after a clip's end are masked as a model's are: they read as the letter, which must never come out.
    """
    nodes = [
        helper.make_node("Shape", ["input_values"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["samples"], axis=0),
        helper.make_node("Range", ["zero", "samples", "one"], ["places"]),
        helper.make_node("Unsqueeze", ["input_lengths", "last"], ["ends"]),
        helper.make_node("Less", ["places", "ends"], ["inside"]),
        helper.make_node("Where", ["inside", "input_values", "letter"], ["masked"]),
        helper.make_node("Unsqueeze", ["masked", "third"], ["column"]),
        helper.make_node("Sub", ["column", "labels"], ["distance"]),
        helper.make_node("Abs", ["distance"], ["far"]),
        helper.make_node("Neg", ["far"], ["logits"]),
        helper.make_node("Identity", ["input_lengths"], ["output_lengths"]),
    ]
    weights: dict[str, NDArray[np.generic]] = {
        "zero": np.array(0),
        "one": np.array(1),
        "last": np.array([1]),
        "third": np.array([2]),
        "letter": np.array(LETTER, np.float32),
        "labels": np.arange(LABELS, dtype=np.float32),
    }
    made = helper.make_graph(
        nodes,
        "labels",
        [
            helper.make_tensor_value_info("input_values", TensorProto.FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "frames", LABELS]),
            helper.make_tensor_value_info("output_lengths", TensorProto.INT64, ["batch"]),
        ],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return Graph(helper.make_model(made, opset_imports=[helper.make_opsetid("", request.param)], ir_version=8))


def run(graph: Graph, **feeds: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
    model = graph.to_model()
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds)))


def best(logits: NDArray[np.generic]) -> list[list[int]]:
    found: list[list[int]] = logits.argmax(axis=-1).tolist()
    return found


def rows(*values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def test_lengths_are_the_shape(graph: Graph) -> None:
    interface.lengths_from_shape(graph)
    found = run(graph, input_values=rows([3, 1, 3], [3, 3, 1]))
    assert best(found["logits"]) == [[3, 1, 3], [3, 3, 1]] and found["output_lengths"].tolist() == [3, 3]


def test_lengths_are_found_before_padding(graph: Graph) -> None:
    """The padding's value inside a clip, and clips that end in zeros, are the clip's own."""
    interface.lengths_from_padding(graph, -9.0)
    found = run(graph, input_values=rows([3, -9, 3, 0], [3, 0, 0, -9], [-9, -9, -9, -9]))
    assert found["output_lengths"].tolist() == [4, 3, 1]


def test_a_flat_batch_becomes_rows(graph: Graph) -> None:
    interface.only_blank_after_end(graph, "logits", BLANK, LABELS)
    interface.flat_batch(graph, "audio", "sizes")
    sizes = np.array([[2], [4], [1]], dtype=np.int32)
    found = run(graph, audio=np.array([3, 1, 3, 3, 1, 3, 3], dtype=np.float32), sizes=sizes)
    assert best(found["logits"]) == [[3, 1, 0, 0], [3, 3, 1, 3], [3, 0, 0, 0]]
    assert found["output_lengths"].tolist() == [2, 4, 1]
    alone = run(graph, audio=np.array([3, 1], dtype=np.float32), sizes=sizes[:1])
    assert best(alone["logits"]) == [[3, 1]]


def test_short_clips_are_padded_and_have_no_label(graph: Graph) -> None:
    interface.only_blank_after_end(graph, "logits", BLANK, LABELS)
    interface.pad_to_minimum(graph, 5)
    found = run(graph, input_values=rows([3, 3, 3]), input_lengths=np.array([2]))
    assert best(found["logits"]) == [[3, 3, 0, 0, 0]]
    found = run(graph, input_values=rows([3] * 7), input_lengths=np.array([7]))
    assert best(found["logits"]) == [[3] * 7]


def test_silent_labels_count_as_the_blank_and_never_win(graph: Graph) -> None:
    interface.silent_as_blank(graph, "logits", BLANK, [SILENT], LABELS)
    found = run(graph, input_values=rows([3, 2, 3, 0, 1]), input_lengths=np.array([5]))
    assert best(found["logits"]) == [[3, 0, 3, 0, 1]]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([3, 0, 0, 0, 3], [3, 0, 0, 0, 3]),  # as long as a word's may be
        ([3, 0, 0, 0, 0, 3], [3, 0, 1, 0, 0, 3]),
        ([3, 1, 0, 0, 0, 0, 3], [3, 1, 0, 0, 0, 0, 3]),  # the word has ended
        ([3, 0, 0, 0, 0, 1], [3, 0, 0, 0, 0, 1]),
        ([0, 0, 0, 0, 0, 3], [0, 0, 0, 0, 0, 3]),  # before the first word, and after the last
        ([3, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0]),
        ([0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]),
        ([3, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 3], [3, 0, 1, 0, 0, 3, 0, 1, 0, 0, 0, 3]),
    ],
)
def test_a_long_pause_inside_a_word_gets_one_delimiter(graph: Graph, frames: list[int], expected: list[int]) -> None:
    interface.delimiter_in_pauses(graph, "logits", BLANK, WORD_END, LABELS, 3)
    found = run(graph, input_values=rows(frames), input_lengths=np.array([len(frames)]))
    assert best(found["logits"]) == [expected]


def test_pauses_do_not_reach_from_one_clip_into_the_next(graph: Graph) -> None:
    interface.delimiter_in_pauses(graph, "logits", BLANK, WORD_END, LABELS, 3)
    clips = rows([3, 3, 0, 0, 0], [0, 0, 0, 3, 3])
    assert best(run(graph, input_values=clips, input_lengths=np.array([5, 5]))["logits"]) == clips.tolist()


def test_outputs_are_renamed_dropped_and_made_probabilities(graph: Graph) -> None:
    interface.log_probabilities(graph, "logits")
    interface.rename_output(graph, "logits", "logprobs")
    interface.drop_output(graph, "output_lengths")
    found = run(graph, input_values=rows([3, 0]), input_lengths=np.array([2]))
    assert list(found) == ["logprobs"]
    np.testing.assert_allclose(np.exp(found["logprobs"].astype(np.float64)).sum(axis=-1), 1.0, atol=1e-6)
