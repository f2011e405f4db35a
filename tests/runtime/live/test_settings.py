"""Settings that cannot work are refused where they are given, and every field is documented."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
from pathlib import Path

import pytest

from wav2edge.runtime.errors import InputError
from wav2edge.runtime.live.capture import CaptureSettings
from wav2edge.runtime.live.endpoint import EndpointRules
from wav2edge.runtime.live.energy_gate import EnergyGateSettings
from wav2edge.runtime.live.labels import LabelSettings
from wav2edge.runtime.live.settings import LiveSettings, LoopSettings
from wav2edge.runtime.live.vad import VadSettings

ALL = (LiveSettings, LoopSettings, EndpointRules, VadSettings, EnergyGateSettings, CaptureSettings)
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, field.name)
        for kind in (LiveSettings, LoopSettings, EndpointRules, VadSettings)
        for field in dataclasses.fields(kind)
        if isinstance(field.default, (int, float)) and field.default is not None
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, "0.5"])
def test_values_out_of_bounds_are_refused(kind: type, name: str, value: object) -> None:
    """A hop of 0 made the decoder ask for the same window for ever."""
    with pytest.raises(InputError, match=rf"{kind.__name__}\.{name} must be from"):
        kind(**{name: value})


def test_a_hop_of_nothing_and_a_bad_microphone_are_refused() -> None:
    for make in (
        lambda: LiveSettings(hop=0.0),
        lambda: LiveSettings(agreement=0),
        lambda: CaptureSettings(rate=0),
        lambda: CaptureSettings(backlog=0.0),
        lambda: CaptureSettings(backoff=(1.0, 0.1)),
    ):
        with pytest.raises(InputError):
            make()


@pytest.mark.parametrize(
    ("kind", "name", "value", "wanted"),
    [
        (LiveSettings, "endpoint", None, "EndpointRules"),
        (LiveSettings, "vad", None, "VadSettings"),
        (LiveSettings, "keep_features", "yes", "bool or None"),
        (LiveSettings, "keep_features", 1, "bool or None"),
        (LiveSettings, "agreement", 1.5, "from 1 to 1000, a whole number"),
        (LiveSettings, "confirm", 3.0, "from 1 to 1000, a whole number"),
        (LabelSettings, "confirm", 1.5, "from 1 to 1000, a whole number"),
        (LabelSettings, "vad", None, "VadSettings"),
    ],
)
def test_values_of_another_type_are_refused(kind: type, name: str, value: object, wanted: str) -> None:
    """They failed later, in the middle of a stream, or meant something else."""
    with pytest.raises(InputError, match=rf"^{kind.__name__}\.{name} must be {wanted}, it is {value!r}$"):
        kind(**{name: value})


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_field_is_documented_and_names_benchmarks_that_exist(kind: type) -> None:
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    documented = {
        before.target.id: after.value.value
        for before, after in zip(tree.body, tree.body[1:])
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
    }
    assert set(documented) == {field.name for field in dataclasses.fields(kind)}
    words = " ".join([inspect.getdoc(kind) or "", *documented.values()]).split()
    for path in (
        word.strip("().,:;") for word in words if "/" in word and word.strip("().,:;").endswith((".py", ".md"))
    ):
        assert (ROOT / path).exists(), path
