"""Every GPU engine on a real GPU: the same numbers as the CPU, no memory lost, and how fast.

Marked ``gpu``: run by ``scripts/test --gpu`` and by nothing else. conftest.py says how to name a bundle.
"""

from __future__ import annotations

import gc
import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wav2edge.devices import detect
from wav2edge.measure.bench import audio, memory, run, table
from wav2edge.measure.bench import plan as bench_plan
from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import SELFTEST, Bundle, Variant
from wav2edge.runtime.bundle.reference import read_archive
from wav2edge.runtime.comparison import TOLERANCES, compare, samples_of
from wav2edge.runtime.engines import EngineOptions, Session, _gpu
from wav2edge.runtime.errors import EngineError

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(3600)]

DOCS = Path(__file__).parents[2] / "docs" / "figures"
RATE = 16000


def speech(seconds: float, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Real speech of a length, from another place for each seed."""
    start = seed * 7919
    return np.roll(audio.speech_of(20.0), start)[: int(seconds * RATE)]


def feeds(*clips: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, Any]:
    batch = np.zeros((len(clips), max(map(len, clips))), np.float32)
    for row, clip in zip(batch, clips):
        row[: len(clip)] = clip
    return engines.as_feeds(batch, np.array([len(clip) for clip in clips]))


def compare_sessions(
    session: Session, reference: Session, bundle: Bundle, variant: Variant, values: dict[str, Any]
) -> None:
    """Within the selftest's tolerance of the variant's precision, clip by clip."""
    ours, theirs = session.run(values), reference.run(values)
    allowed = TOLERANCES[variant.precision]
    for output in bundle.spec.outputs:
        assert ours[output.name].shape == theirs[output.name].shape
        for row in range(len(values["input_lengths"])):
            a, b = (np.asarray(found[output.name][row], np.float64) for found in (ours, theirs))
            if "frames" in output.axes:
                assert ours["output_lengths"][row] == theirs["output_lengths"][row]
                a, b = a[: ours["output_lengths"][row]], b[: ours["output_lengths"][row]]
            assert np.isfinite(a).all()
            assert np.abs(a - b).max() <= allowed.difference * max(1.0, np.abs(b).max())
            cosine = (a * b).sum() / max(1e-30, np.linalg.norm(a) * np.linalg.norm(b))
            assert cosine >= allowed.cosine


def test_an_engine_runs_here(bundle: Bundle, gpu_engine: str) -> None:
    """One line for each engine that is missing, so that a table without it is not mistaken for its absence of merit."""
    if reason := engines.get(gpu_engine).unavailable():
        pytest.skip(reason)


def test_at_least_one_engine_is_there(gpu_engines: tuple[str, ...]) -> None:
    reasons = {name: engines.get(name).unavailable() for name in gpu_engines}
    assert None in reasons.values(), f"no engine uses the GPU: {reasons}"


@pytest.mark.parametrize("seconds", [0.025, 0.5, 1.0, 3.3, 7.3, 10.0])
def test_parity(session: Session, reference: Session, bundle: Bundle, variant: Variant, seconds: float) -> None:
    compare_sessions(session, reference, bundle, variant, feeds(speech(max(seconds, bundle.spec.min_samples / RATE))))


def test_parity_of_a_ragged_batch(session: Session, reference: Session, bundle: Bundle, variant: Variant) -> None:
    compare_sessions(session, reference, bundle, variant, feeds(speech(4.0), speech(0.7, 1), speech(9.1, 2)))


def test_parity_of_repeated_shapes(session: Session, reference: Session, bundle: Bundle, variant: Variant) -> None:
    """A CUDA graph is recorded on the third run of a shape and must then compute on the new samples and lengths."""
    for seed in range(6):
        compare_sessions(session, reference, bundle, variant, feeds(speech(5.0, seed)))
    for seed, seconds in enumerate((4.99, 4.95, 4.97, 5.0)):
        compare_sessions(session, reference, bundle, variant, feeds(speech(seconds, seed)))
    compare_sessions(session, reference, bundle, variant, feeds(speech(2.0, 1)))
    compare_sessions(session, reference, bundle, variant, feeds(speech(5.0, 9)))


def test_the_selftest_passes(session: Session, bundle: Bundle, variant: Variant, gpu_engine: str) -> None:
    if SELFTEST not in bundle.files:
        pytest.skip("the bundle has no selftest")
    kept = read_archive(bundle)
    found = [engines.outputs_alone(session, bundle.spec, samples_of(values["clip"])) for values in kept]
    outcome = compare(bundle.spec, variant, found, kept)
    # A random model's text hangs on ties; its numbers do not.
    assert outcome.status == "passed" or outcome.reason == "another text", outcome.reason


def test_no_memory_is_lost_over_changing_lengths(session: Session) -> None:
    """Onnxruntime 1.24 to 1.26 lost about 11 MB a run where the length changes."""
    lengths = np.random.default_rng(5).uniform(0.3, 9.9, 40)
    for seconds in (*lengths, 10.0):
        session.run(feeds(speech(seconds)))
    gc.collect()
    device, host = engines.gpu_memory_used(), _resident()
    for _ in range(5):
        for seconds in lengths:
            session.run(feeds(speech(seconds)))
    gc.collect()
    grown = (engines.gpu_memory_used() or 0) - (device or 0)
    assert grown <= 32 << 20, f"{grown / 1e6:.0f} MB of device memory lost in 200 runs"
    assert _resident() - host <= 64 << 20, "host memory lost in 200 runs"


def test_loading_and_closing_gives_the_memory_back(bundle: Bundle, gpu_engine: str) -> None:
    module = engines.get(gpu_engine)
    if reason := module.unavailable():
        pytest.skip(reason)
    variant = bundle.variant("fp32")

    def once() -> None:
        loaded = engines.load(bundle, variant, gpu_engine, options=EngineOptions(longest_seconds=2.0))
        loaded.run(feeds(speech(1.0)))
        loaded.close()
        gc.collect()

    once()
    before = engines.gpu_memory_used() or 0
    for _ in range(3):
        once()
    assert (engines.gpu_memory_used() or 0) - before <= 64 << 20


def test_a_clip_that_is_too_long_is_an_error_or_runs(session: Session, bundle: Bundle) -> None:
    try:
        frames = session.run(feeds(speech(12.0)))["output_lengths"][0]
    except EngineError as error:
        assert "--longest" in str(error)
    else:
        assert frames == bundle.spec.frames(12 * RATE)


def test_latency_table(bundle: Bundle, checkpoint: Path | None, capsys: pytest.CaptureFixture[str]) -> None:
    """Every configuration in one run, torch eager and compiled too; the table goes to docs/figures/."""
    configurations, skipped = bench_plan.configurations(
        [bundle], detect.detect().cpu.threads, checkpoints=[checkpoint] if checkpoint else []
    )
    cpu_only = [one for one in configurations if one.engine in ("onnxruntime", "openvino") and one.variant != "fp32"]
    rehearsal = _gpu.missing() is not None
    plan = bench_plan.BenchPlan(
        tuple(one for one in configurations if one not in cpu_only),
        tuple(skipped),
        lengths=(1.0, 10.0) if rehearsal else (1.0, 5.0, 10.0, 30.0),
        runs=5 if rehearsal else 50,
        limit=1.0 if rehearsal else 10.0,
        baseline=next((one.name for one in configurations if one.name == "torch(cuda:0)/fp16"), None),
    )
    report = run.measure(plan)
    with capsys.disabled():
        print("\n" + table.text_table(report))  # noqa: T201 (the table is what the suite is run for)
    assert all(timing.percentile(50) > 0 for result in report.results for timing in result.timings)
    if rehearsal:
        return
    gpu = detect.detect().nvidia
    name = re.sub(r"[^a-z0-9]+", "-", (gpu.name if gpu else "gpu").lower()).strip("-")
    measured = f"*Measured on {date.today()} on {gpu.name if gpu else 'a GPU'}, by `scripts/test --gpu`.*"
    (DOCS / f"gpu-{name}.md").write_text(f"{measured}\n\n{table.markdown(report)}")


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return memory.peak() or 0
