"""A variant whose words are kept only with much in float, on a machine without the engine that it is made for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import pytest

from wav2edge.calibration.build import VariantBuilder, planned
from wav2edge.calibration.candidates import Candidates
from wav2edge.calibration.judge import Hypotheses, Judge, Measured
from wav2edge.calibration.options import Options, Outcome
from wav2edge.calibration.sensitivity import Sensitivity
from wav2edge.calibration.sites import find_sites
from wav2edge.calibration.work import Work
from wav2edge.graphs.graph import Graph
from wav2edge.measure.figures import FIGURES, Change, Estimate
from wav2edge.measure.runs import TranscriptionRun
from wav2edge.runtime.bundle.read import Bundle, Variant


class WordsInFloat:
    """Stands in for the judge: all words are kept where at least so many layers are in float."""

    def __init__(self, bundle: Bundle, needed: int) -> None:
        self.bundle, self.needed, self.work = bundle, needed, Work()

    def judge(self, staged: Bundle, variant: Variant, stage: str, part: str) -> Measured:
        found = re.search(r"(\d+) layers in float", stage)
        assert found is not None
        lost = 0.0 if int(found[1]) >= self.needed else 0.2
        wer = FIGURES["wer"]
        change, figure = Change(lost, lost, lost, wer), Estimate(wer, 0.1, 0.1, 0.1, 9)
        nothing = Hypotheses((), (), TranscriptionRun((), (), ()))
        return Measured("onnxruntime", figure, change, 1.0, 30.0, True, nothing)

    def forget(self, part: str) -> None:
        """Nothing is kept."""


@pytest.fixture
def made(
    fp32_bundle: Bundle, fp32_graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: int
) -> Outcome:
    """The variant for OpenVINO, searched for and not timed."""
    monkeypatch.setattr(VariantBuilder, "build", lambda builder, name, *_, **__: planned(name))
    monkeypatch.setattr(VariantBuilder, "with_stages", lambda builder, variant: variant)
    builder = VariantBuilder(fp32_bundle, fp32_graph, find_sites(fp32_graph), {}, "mse", tmp_path)
    layers = list(dict.fromkeys(site.layer for site in builder.sites))
    order = tuple(Sensitivity(layer, float(place), 1 / len(layers)) for place, layer in enumerate(layers))
    judge = cast(Judge, WordsInFloat(fp32_bundle, needed if needed >= 0 else len(layers) + needed))
    candidates = Candidates(builder, judge, {"s8s8": order}, frozenset(), Options(), lambda *_: None)
    return candidates.make("int8-s8s8")


@pytest.mark.parametrize("needed", [4])
def test_a_few_layers_in_float_are_kept(made: Outcome) -> None:
    assert made.verdict.kept and "speed not judged here" in made.verdict.text and len(made.kept_float) == 5


@pytest.mark.parametrize("needed", [-3])
def test_most_of_the_work_in_float_is_refused(made: Outcome) -> None:
    """It was kept with 29 of 34 layers in float."""
    assert not made.verdict.kept and not made.verdict.words
    assert re.fullmatch(r"refused, 9\d % of its work is in float, and its speed .*", made.verdict.text)


@pytest.mark.parametrize("needed", [-1])
def test_all_layers_in_float_are_refused_for_the_words_of_what_is_quantised(made: Outcome) -> None:
    """fp32 again, it passed the gate on words, and a run of the default variants ended with the code of success."""
    assert not made.verdict.kept and made.verdict.words and "too many words lost: +20.00" in made.verdict.text
    assert set(made.kept_float.values()) == {"one input channel: nothing to gain"}
