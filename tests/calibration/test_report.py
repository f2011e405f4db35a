"""The page of a quantisation: what it shows for each way a variant can come out, and that it fits its screens."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
from pathlib import Path

import pytest

from wav2edge.calibration import report
from wav2edge.calibration.compress import NOTHING
from wav2edge.calibration.gate import Verdict
from wav2edge.calibration.quantize import Calibration, Options, quantize
from wav2edge.calibration.sensitivity import Sensitivity
from wav2edge.measure import page as kit
from wav2edge.measure.runs import TranscriptionRun
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle

LAYERS = ("feature_extractor.conv_layers.1", "encoder.layers.11.feed_forward")


@pytest.fixture(scope="module")
def made(fp32_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """A small run, nothing searched for and nothing timed."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(fp32_bundle.path, folder / "a <b> & model")
    shutil.copytree(embedded.clips_manifest().parent, folder / "clips")
    options = Options(variants=("int8-dynamic",), smooth=False, searching=False, force=True, limit=1, dev_limit=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wav2edge.calibration.judge.Judge.latency_ratio", lambda *_: (0.5, 12.0))
        speech = folder / "clips" / embedded.clips_manifest().name
        return quantize(Bundle.open(folder / "a <b> & model"), speech, embedded.clips_manifest(), options)


def transcribed(made: Calibration) -> TranscriptionRun:
    run = made.judge.reference.run
    assert isinstance(run, TranscriptionRun)
    return run


def with_outcome(made: Calibration, **changes: object) -> Calibration:
    (outcome,) = made.outcomes
    return dataclasses.replace(made, outcomes=(dataclasses.replace(outcome, **changes),))  # type: ignore[arg-type]


def test_names_and_texts_are_escaped(made: Calibration) -> None:
    page = report.page(made)
    assert "a &lt;b&gt; &amp; model: quantisation" in page and "<b>" not in page
    assert "12 ms, 0.50×" in page and "Not measured: no search was asked for." in page


def test_a_refusal_and_a_forced_variant_are_marked(made: Calibration) -> None:
    refused = dataclasses.replace(made, record={**made.record, "refused": "int8-dynamic: refused, too slow"})
    assert "The bundle is unchanged: int8-dynamic: refused, too slow" in report.page(refused)
    forced = with_outcome(made, verdict=Verdict(True, "kept by force, not faster", forced=True))
    assert re.search(r'class="bad">kept by force', report.page(forced))
    kept = with_outcome(made, verdict=Verdict(True, "kept"))
    assert re.search(r'class="good">kept<', report.page(kept))


def test_a_model_of_which_nothing_can_be_removed_has_no_variant(made: Calibration) -> None:
    """The page said that no search was asked for."""
    nothing = dataclasses.replace(made, outcomes=(), record={"variants": {}, "refused": NOTHING})
    page = report.page(nothing)
    assert f"The bundle is unchanged: {NOTHING}" in page and "Not measured: no variant was made." in page


def test_what_was_not_timed_has_no_dot(made: Calibration) -> None:
    dots = report.page(made).count("<circle")
    page = report.page(with_outcome(made, latency_ratio=math.nan, latency_ms=math.nan))
    assert "not timed here" in page and page.count("<circle") == dots // 2


def test_layers_left_in_float_stand_out(made: Calibration) -> None:
    (outcome,) = made.outcomes
    variant = dataclasses.replace(outcome.variant, name="int8-u8s8")
    searched = with_outcome(made, variant=variant, kept_float={LAYERS[0]: "search (12.0 dB alone)"})
    searched = dataclasses.replace(
        searched, sensitivities={"u8s8": (Sensitivity(LAYERS[0], 12.0, 0.2), Sensitivity(LAYERS[1], 40.0, 0.1))}
    )
    page = report.page(searched)
    assert "Sensitivity of each layer, u8s8" in page and "12.0 dB, 20.0 % of the work" in page
    full, soft = re.findall(r'<rect[^>]*class="(f-c0[^"]*)"', page)[:2]
    assert (full, soft) == ("f-c0", "f-c0 soft")


def test_nothing_is_wider_than_its_screen(made: Calibration) -> None:
    """It ran off a screen of 1 280 pixels: the table now scrolls inside its card, plots are drawn for two widths."""
    page = report.page(made)
    assert {float(width) for width in re.findall(r'<svg[^>]* width="(\d+)"', page)} == {kit.WIDE, kit.NARROW}
    assert page.count('class="scroll"') == page.count("<table>") >= 1
    assert max(float(x) for x in re.findall(r' (?:cx|x)="([\d.]+)"', page)) <= kit.WIDE


def test_clips_that_changed_are_shown_word_by_word(made: Calibration) -> None:
    (outcome,) = made.outcomes
    run = transcribed(made)
    texts = tuple(f"{text} besides" for text in run.hypotheses)
    hypotheses = dataclasses.replace(made.judge.reference, run=dataclasses.replace(run, hypotheses=texts))
    page = report.page(with_outcome(made, measured=dataclasses.replace(outcome.measured, hypotheses=hypotheses)))
    assert page.count("<ins>besides</ins>") == 3
    same = dataclasses.replace(outcome.measured, hypotheses=made.judge.reference)
    assert "Every clip has fp32&#x27;s text." in report.page(with_outcome(made, measured=same))


def test_the_worst_clips_come_first(made: Calibration, tmp_path: Path) -> None:
    (outcome,) = made.outcomes
    run = transcribed(made)
    other = dataclasses.replace(run, hypotheses=("", *run.hypotheses[1:]))
    hypotheses = dataclasses.replace(made.judge.reference, run=other)
    page = report.page(with_outcome(made, measured=dataclasses.replace(outcome.measured, hypotheses=hypotheses)))
    gap = other.edits[0].errors - run.edits[0].errors
    assert gap > 0
    assert f">{gap:+d}</td>" in page and made.judge.dev.rows[0].path.name in page
