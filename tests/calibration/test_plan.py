"""The plan of a run, in words and in seconds."""

from __future__ import annotations

import dataclasses

import pytest

from wav2edge.calibration.clips import BUILT_IN, choose_speech
from wav2edge.calibration.options import Options
from wav2edge.calibration.plan import QuantizationPlan, make_plan
from wav2edge.calibration.sites import find_sites
from wav2edge.graphs.graph import Graph
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import InputError

PLAN = QuantizationPlan(100, 200, 4748, 700.0, 41.0, False)


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (PLAN, "calibrating on 100, judging on 200 of 4 748 recordings (about 12 min)"),
        (dataclasses.replace(PLAN, seconds=0.2), "calibrating on 100, judging on 200 of 4 748 recordings (about 1 s)"),
        (dataclasses.replace(PLAN, seconds=9000.0), "… (about 2.5 h)"),
        (
            dataclasses.replace(PLAN, searching=True),
            "… (about 12 min, and 41 s for each set of float layers that a search tries)",
        ),
    ],
)
def test_in_words(plan: QuantizationPlan, text: str) -> None:
    assert str(plan).endswith(text.removeprefix("… ")) and str(plan).startswith("calibrating on 100, judging on 200")


def test_more_work_takes_longer(fp32_bundle: Bundle, fp32_graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of sound that fp32 would run in the same time, whatever this machine's pace is."""
    monkeypatch.setattr("wav2edge.calibration.plan._pace", lambda *_: 1.0)
    speech, sites = choose_speech(fp32_bundle.spec, BUILT_IN, None, 10.0), find_sites(fp32_graph)
    dev, calibrating = speech.judging.seconds, speech.calibrating.seconds

    def seconds(**changes: object) -> float:
        options = dataclasses.replace(Options(variants=("int8-dynamic",), searching=False, smooth=False), **changes)  # type: ignore[arg-type]
        return make_plan(fp32_bundle, speech, sites, options).seconds

    alone = seconds()
    assert alone == pytest.approx(2 * dev + 120.0)
    assert seconds(smooth=True) == pytest.approx(alone + 1.1 * calibrating)
    assert seconds(variants=("int8-u8s8",)) == pytest.approx(alone + 2.1 * calibrating)
    assert seconds(variants=("fp16", "int8-dynamic")) == pytest.approx(alone + dev + 120.0)
    layers = len({site.layer for site in sites})
    assert seconds(searching=True) == pytest.approx(alone + 2.1 * calibrating + 1.6 * layers * 24)


def test_options_that_make_no_sense_are_refused() -> None:
    for wrong in ({"longest": float("nan")}, {"longest": 0.0}, {"limit": 0}, {"dev_limit": -1}, {"method": "magic"}):
        with pytest.raises(InputError, match=rf"{next(iter(wrong))}|magic"):
            dataclasses.replace(Options(), **wrong).check()
