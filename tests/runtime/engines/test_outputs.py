"""What a graph gives is what its manifest says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import BundleError
from wav2edge.runtime.model import Model


def test_a_manifest_that_does_not_fit_its_graph_is_one_line(small_bundle: Bundle) -> None:
    """It was an internal error, and only for sound that reached the missing label."""
    spec, clip = small_bundle.spec, np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    fewer = dataclasses.replace(small_bundle, spec=dataclasses.replace(spec, labels=spec.labels[:-3]))
    with pytest.raises(BundleError, match=f"{len(spec.labels)} scores for {len(spec.labels) - 3} labels"):
        Model(fewer, "onnxruntime", "fp32").logits([clip])
    renamed = dataclasses.replace(spec.outputs[0], name="foo")
    other = dataclasses.replace(small_bundle, spec=dataclasses.replace(spec, outputs=(renamed, *spec.outputs[1:])))
    with pytest.raises(BundleError, match="has no output 'foo'"):
        Model(other, "onnxruntime", "fp32").logits([clip])
