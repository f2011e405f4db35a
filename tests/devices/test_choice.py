"""The choice follows the user, then the tuning of this machine, then the board's profile."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from wav2edge.cli import main
from wav2edge.devices import choice, profile, tuning
from wav2edge.devices.detect import Machine, detect
from wav2edge.devices.tuning import Measurement, Tuning, within_budget
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.bundle.write import describe_variant, new_bundle, write_manifest
from wav2edge.runtime.engines import null
from wav2edge.runtime.errors import BundleError, EngineError, GateRefused, InputError

Board = Callable[[str], Path]
Make = Callable[..., Bundle]

PREFERRED = {"int8-u8s8": ("onnxruntime",), "int8-s8s8": ("openvino", "tensorrt")}


@pytest.fixture
def bundle_of(tmp_path: Path, ctc_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A bundle with the variants named; the graphs are bytes that nothing loads. The cache is the test's own."""
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))

    def make(*names: str, forced: Sequence[str] = (), path: str = "bundle", megabytes: int = 31) -> Bundle:
        with new_bundle(tmp_path / path, overwrite=True) as directory:
            variants = []
            for name in names:
                with (directory / f"{name}.onnx").open("wb") as file:
                    file.write(name.encode())
                    file.truncate(megabytes * 1_000_000 if name == "int8-s8s8" else 1000)
                precision, _, scheme = name.partition("-")
                variants.append(
                    describe_variant(
                        directory,
                        name,
                        precision,
                        {"full": f"{name}.onnx"},
                        scheme=scheme or None,
                        preferred_by=PREFERRED.get(name, ()),
                        metrics={"forced": True} if name in forced else {},
                    )
                )
            write_manifest(directory, ctc_spec, variants, {})
        return Bundle.open(tmp_path / path)

    return make


ALL = ("fp32", "int8-dynamic", "int8-u8s8", "int8-u7s8", "int8-s8s8")


@pytest.fixture
def laptop(board: Board) -> Machine:
    return detect(board("x86-laptop"))


@pytest.mark.parametrize(
    ("name", "engine", "variant"),
    [
        ("x86-laptop", None, "int8-s8s8"),
        ("x86-laptop", "onnxruntime", "int8-u8s8"),
        ("raspberry-pi-5", None, "int8-u8s8"),
        ("x86-desktop-nvidia", "onnxruntime", "int8-u7s8"),
    ],
)
def test_the_profile_decides(board: Board, bundle_of: Make, name: str, engine: str | None, variant: str) -> None:
    found = choice.choose(bundle_of(*ALL), engine, machine=detect(board(name)))
    assert found.variant.name == variant
    assert found.engine == (engine or {"x86-laptop": "openvino", "raspberry-pi-5": "onnxruntime"}[name])
    assert found.reason == f"profile {profile.for_machine(detect(board(name))).name}"


def test_openvino_is_not_chosen_without_vnni(board: Board, bundle_of: Make) -> None:
    """By an estimate it was, and took 1.8 times as long as ONNX Runtime at base shape."""
    desktop = detect(board("x86-desktop-nvidia"))
    found = choice.choose(bundle_of(*ALL), machine=desktop, profile=profile.load("x86-64"))
    assert (found.engine, found.variant.name) == ("onnxruntime", "int8-u7s8")
    after_the_gpu = [item for item in profile.load("x86-64-nvidia").order if item.variant.startswith("int8")]
    suiting = [(item.engine, item.variant) for item in after_the_gpu if item.suits(desktop)]
    assert suiting[0] == ("onnxruntime", "int8-u7s8")


def test_a_named_engine_runs_what_cannot_saturate_without_vnni(board: Board, bundle_of: Make) -> None:
    """OpenVINO's INT8 takes as long as FP32 there, and made 47.2 % errors on Mini LibriSpeech where FP32 made 46.2."""
    desktop, x86 = detect(board("x86-desktop-nvidia")), profile.load("x86-64")
    assert desktop.cpu.saturates
    assert choice.choose(bundle_of(*ALL), "openvino", machine=desktop, profile=x86).variant.name == "fp32"
    alone = bundle_of("int8-dynamic", "int8-s8s8")
    assert choice.choose(alone, "openvino", machine=desktop, profile=x86).variant.name == "int8-s8s8", "nothing else"
    on_gpu = choice.choose(bundle_of(*ALL), "openvino", device="GPU", machine=desktop, profile=x86)
    assert on_gpu.variant.name == "int8-s8s8"
    named = choice.choose(bundle_of(*ALL), "openvino", "int8-s8s8", machine=desktop, profile=x86)
    assert named.variant.name == "int8-s8s8"


@pytest.mark.parametrize(
    ("device", "variant"),
    [
        *[(name, "fp32") for name in ("cpu", "CPU", "AUTO", "AUTO:GPU,CPU", "MULTI:CPU(2),GPU", "AUTO:-GPU")],
        *[(name, "int8-s8s8") for name in ("AUTO:GPU", "AUTO:-CPU", "GPU.1", "NPU")],
    ],
)
def test_a_device_that_uses_the_cpu_saturates_as_it(device: str, variant: str, board: Board, bundle_of: Make) -> None:
    """Only ``CPU`` in capitals was the CPU; AUTO ran INT8 there, whose sums saturate without VNNI."""
    desktop, x86 = detect(board("x86-desktop-nvidia")), profile.load("x86-64")
    found = choice.choose(bundle_of(*ALL), "openvino", device=device, machine=desktop, profile=x86)
    assert found.variant.name == variant


def test_threads_follow_limits_and_the_user(board: Board, bundle_of: Make) -> None:
    bundle = bundle_of("fp32")
    pi = detect(board("raspberry-pi-5"))
    assert choice.choose(bundle, machine=pi).threads == 2, "a quota of two CPUs"
    assert choice.choose(bundle, machine=pi, threads=3).threads == 3


def test_only_fp32_runs_where_it_loads_fastest(bundle_of: Make, laptop: Machine) -> None:
    found = choice.choose(bundle_of("fp32"), machine=laptop)
    assert (found.engine, found.variant.name) == ("onnxruntime", "fp32")


def test_a_small_model_takes_the_engine_that_starts_faster(bundle_of: Make, laptop: Machine) -> None:
    """OpenVINO's runs are shorter, but one short command on a small model is over before that pays."""
    small = bundle_of(*ALL, megabytes=6)
    found = choice.choose(small, machine=laptop)
    assert (found.engine, found.variant.name) == ("onnxruntime", "int8-u8s8")
    assert choice.choose(small, "openvino", machine=laptop).variant.name == "int8-s8s8", "named, it gets its best"
    tuning.save(small, laptop, tuned("openvino", "int8-s8s8"))
    assert choice.choose(small, machine=laptop).engine == "openvino", "measured here"


def test_the_user_wins(board: Board, bundle_of: Make, laptop: Machine) -> None:
    found = choice.choose(bundle_of(*ALL), "onnxruntime", "fp32", machine=laptop)
    assert (found.engine, found.variant.name, found.reason) == ("onnxruntime", "fp32", "named")
    desktop = detect(board("x86-desktop-nvidia"))
    found = choice.choose(bundle_of(*ALL), variant="int8-u8s8", profile=profile.load("x86-64"), machine=desktop)
    assert (found.engine, found.variant.name) == ("onnxruntime", "int8-u8s8"), "not in the profile, but named"
    found = choice.choose(bundle_of(*ALL), "null", machine=laptop)
    assert found.engine == "null"


def test_a_variant_kept_against_the_gate_is_used_only_when_named(bundle_of: Make, laptop: Machine) -> None:
    bundle = bundle_of(*ALL, forced=("int8-s8s8", "int8-u8s8", "int8-u7s8"))
    assert choice.choose(bundle, machine=laptop).variant.name == "int8-dynamic"
    assert choice.choose(bundle, "openvino", machine=laptop).variant.name == "fp32"
    assert choice.choose(bundle, "null", machine=laptop).variant.name == "fp32"
    assert choice.choose(bundle, variant="int8-s8s8", machine=laptop).variant.name == "int8-s8s8"


def test_a_bundle_with_nothing_but_forced_variants_says_so(bundle_of: Make, laptop: Machine) -> None:
    bundle = bundle_of("int8-u8s8", forced=("int8-u8s8",))
    with pytest.raises(EngineError, match="int8-u8s8 was kept by --force; name it with --variant"):
        choice.choose(bundle, machine=laptop)
    assert choice.choose(bundle, variant="int8-u8s8", machine=laptop).variant.name == "int8-u8s8"


def test_mistakes_are_named(bundle_of: Make, laptop: Machine) -> None:
    with pytest.raises(InputError, match="no engine 'cuda'"):
        choice.choose(bundle_of("fp32"), "cuda", machine=laptop)
    with pytest.raises(InputError, match="no variant 'fp8'"):
        choice.choose(bundle_of("fp32"), variant="fp8", machine=laptop)
    with pytest.raises(BundleError, match="holds no variant"):
        choice.choose(bundle_of(), machine=laptop)


def tuned(engine: str = "onnxruntime", variant: str = "int8-dynamic", threads: int = 1) -> Tuning:
    measured = Measurement(engine, variant, threads, 0.1)
    return Tuning(measured, (measured, Measurement("openvino", "fp32", 2, 0.2)), "2026-11-22T18:00:00", "powersave")


def test_what_was_measured_here_beats_the_profile(bundle_of: Make, laptop: Machine) -> None:
    bundle = bundle_of(*ALL)
    tuning.save(bundle, laptop, tuned())
    found = choice.choose(bundle, machine=laptop)
    assert (found.engine, found.variant.name, found.threads) == ("onnxruntime", "int8-dynamic", 1)
    assert found.reason == "tuned on this machine on 2026-11-22"
    assert choice.choose(bundle, "openvino", machine=laptop).variant.name == "int8-s8s8", "the user wins"
    assert choice.choose(bundle, machine=laptop, threads=4).threads == 4
    assert tuning.load(bundle, laptop) == tuned()
    assert tuning.forget(bundle, laptop) and tuning.load(bundle, laptop) is None
    assert choice.choose(bundle, machine=laptop).engine == "openvino"


def test_a_tuning_is_for_one_bundle_on_one_machine(board: Board, bundle_of: Make, laptop: Machine) -> None:
    tuning.save(bundle_of(*ALL), laptop, tuned())
    assert tuning.load(bundle_of(*ALL, path="copy"), laptop) is not None, "a copy is the same bundle"
    assert tuning.load(bundle_of("fp32"), laptop) is None, "another set of variants"
    root = board("x86-laptop")
    (root / "proc/self/status").write_text("Cpus_allowed_list:\t0-1\n")
    assert tuning.load(bundle_of(*ALL), detect(root)) is None, "fewer cores"


def test_a_tuned_engine_that_is_gone_is_passed_over(bundle_of: Make, laptop: Machine) -> None:
    bundle = bundle_of(*ALL)
    tuning.save(bundle, laptop, tuned(engine="removed-engine"))
    assert choice.choose(bundle, machine=laptop).engine == "openvino"


def test_a_tuned_engine_for_testing_is_passed_over(bundle_of: Make, laptop: Machine) -> None:
    """A tuning that named the null engine made every later transcript empty, without an error."""
    bundle = bundle_of(*ALL)
    tuning.save(bundle, laptop, tuned("null", "fp32"))
    found = choice.choose(bundle, machine=laptop)
    assert (found.engine, found.variant.name) == ("openvino", "int8-s8s8")


@pytest.mark.parametrize(
    "content", ['{"format": 1}', '{"format": 99}', "{", '{"format": 2, "measurements": [3]}', "[" * 100_000]
)
def test_a_damaged_tuning_is_no_tuning(bundle_of: Make, laptop: Machine, content: str) -> None:
    bundle = bundle_of(*ALL)
    tuning.save(bundle, laptop, tuned()).write_text(content)
    assert tuning.load(bundle, laptop) is None
    assert choice.choose(bundle, machine=laptop).engine == "openvino"


@pytest.mark.parametrize("threads", [-1, 0, 1025, 10**9, 2**40])
def test_a_tuning_with_threads_that_no_machine_has_is_damaged(bundle_of: Make, laptop: Machine, threads: int) -> None:
    """Engines took them for a number to allocate, and failed with an internal error or without memory."""
    bundle = bundle_of(*ALL)
    tuning.save(bundle, laptop, tuned(threads=threads))
    assert tuning.load(bundle, laptop) is None
    tuning.save(bundle, laptop, tuned(threads=1024))
    assert tuning.load(bundle, laptop) == tuned(threads=1024)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX permissions")
def test_a_tuning_that_others_may_write_is_not_used(bundle_of: Make, laptop: Machine, tmp_path: Path) -> None:
    """It was read from, and written to, a cache directory that the engines refuse."""
    bundle = bundle_of(*ALL)
    tuning.save(bundle, laptop, tuned())
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    (tmp_path / "cache").chmod(0o777)
    assert tuning.load(bundle, laptop) is None
    assert choice.choose(bundle, machine=laptop).engine == "openvino"
    with pytest.raises(InputError, match="others may write to it"):
        tuning.save(bundle, laptop, tuned())


MEASUREMENTS = (
    Measurement("openvino", "int8-s8s8", 2, 0.100, wer_rise=1.2),
    Measurement("onnxruntime", "int8-u8s8", 2, 0.150, wer_rise=0.4),
    Measurement("onnxruntime", "fp32", 2, 0.400, wer_rise=0.0),
)


@pytest.mark.parametrize(
    ("rise", "latency", "variant"),
    [
        (None, None, "int8-s8s8"),
        (0.5, None, "int8-u8s8"),
        (0.0, None, "fp32"),
        (None, 0.2, "int8-u8s8"),
        (None, 1.0, "fp32"),
        (2.0, 0.2, "int8-s8s8"),
    ],
)
def test_budgets(rise: float | None, latency: float | None, variant: str) -> None:
    assert within_budget(MEASUREMENTS, rise, latency).variant == variant


def test_a_budget_that_nothing_meets_names_the_closest() -> None:
    with pytest.raises(GateRefused, match=r"inside 0.5 points of WER and 120 ms; closest is int8-u8s8 on onnxruntime"):
        within_budget(MEASUREMENTS, 0.5, 0.12)
    with pytest.raises(GateRefused, match="manifest"):
        within_budget([Measurement("openvino", "fp32", 2, 0.1)], max_wer_rise=0.5)
    with pytest.raises(GateRefused, match="nothing was measured"):
        within_budget([])


def test_the_command_follows_the_tuning(
    shapes_bundle: Bundle, clips: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ONNX Runtime cannot load its graph file; the null engine, which counts as one for inference here, reads none."""
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))
    command = ["transcribe", str(clips[0][0]), "-m", str(shapes_bundle.path)]
    assert main(command) == 3
    tuning.save(shapes_bundle, detect(), tuned("null", "fp32"))
    monkeypatch.setattr(null, "PURPOSE", "inference")
    assert main(command) == 0
    assert main([*command, "--engine", "onnxruntime"]) == 3, "the user wins"
