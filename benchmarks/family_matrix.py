"""Which models of the family pass the parity gate: every architecture, with every head that transformers has for it.

    python benchmarks/family_matrix.py [--model wavlm …] [--results FILE] --docs docs/figures/family-matrix.md

Each is a small random model, exported and compared with torch on each clip alone: lengths from the shortest clip to
30 s, ragged batches, silence, loud and quiet speech, padding of noise and NaN, in ONNX Runtime and in OpenVINO; and
TensorRT for RTX builds its graph. A cell is the largest difference as a share of what the gate allows. Exits 1 where
one fails. All of them take half an hour of one core: ``--results`` keeps each line, and those in it are not run again.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _kit

from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.families import FAMILIES, HEADS, Family, Head
from wav2edge.export.parity import TOLERANCE, check
from wav2edge.export.pipeline import export, model_spec
from wav2edge.export.reference import Reference
from wav2edge.runtime.bundle.documents import ParityPointJson
from wav2edge.runtime.errors import Wav2EdgeError

MODELS = Path(__file__).parents[1] / "tests" / "export" / "conftest.py"
"""The small models of the tests: a shape for each architecture and for each way its forward pass can differ."""
SHARED: dict[str, dict[str, Any]] = {
    "wav2vec2 with attention adapters (MMS)": {"adapter_attn_dim": 8},
    "wav2vec2 with an adapter": {"add_adapter": True},
    "hubert of two layers (DistilHuBERT)": {
        "classes": "Hubert",
        "feat_extract_norm": "group",
        "do_stable_layer_norm": False,
        "conv_bias": False,
        "feat_proj_layer_norm": False,
    },
    "hubert with batch norm of positions (mHuBERT)": {
        "classes": "Hubert",
        "feat_extract_norm": "group",
        "do_stable_layer_norm": False,
        "conv_bias": False,
        "conv_pos_batch_norm": True,
    },
}
"""Published models whose class another architecture has: settings over the plain ones."""


@dataclass(frozen=True)
class Result:
    """One model with one head."""

    model: str
    head: str
    onnxruntime: str
    openvino: str
    rtx: str

    @property
    def passed(self) -> bool:
        """Whether both engines agree with torch."""
        return not any(cell.startswith("fails") for cell in (self.onnxruntime, self.openvino))


def small_models() -> Any:
    """The module with ``ARCHITECTURES`` and ``write_checkpoint``."""
    spec = importlib.util.spec_from_file_location("small_models", MODELS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def combinations(models: Any) -> list[tuple[str, dict[str, Any], Family, Head]]:
    """Every small model with every head of its family; the plain one is Wav2Vec2 in its two norms."""
    plain = {"wav2vec2, layer norm (XLS-R)": {}, "wav2vec2, group norm": models.GROUP}
    shapes = {**plain, **SHARED, **models.ARCHITECTURES}
    found = []
    for name, settings in shapes.items():
        shape = {key: value for key, value in settings.items() if key != "head"}
        classes = shape.get("classes", "Wav2Vec2")
        family = next(family for family in FAMILIES if family.classes == classes)
        found += [(name, shape, family, head) for head in family.heads if accepted(shape, head)]
    return found


def accepted(shape: dict[str, Any], head: Head) -> bool:
    """Whether transformers takes a shape with a head: classifiers refuse adapters, x-vectors those of another width."""
    if head.name == "xvector":
        return "output_hidden_size" not in shape
    return not (shape.get("add_adapter") and head.name in ("sequence_classification", "frame_classification"))


def measure(models: Any, name: str, shape: dict[str, Any], head: Head, folder: Path) -> Result:
    """Export one and compare it in both engines."""
    settings = {**shape, **(models.TDNN if head.name == "xvector" else {})}
    if head.name in ("ctc", "encoder"):
        settings.pop("use_weighted_layer_sum", None)
    path = models.write_checkpoint(folder / "checkpoint", head=head.suffix, **settings)
    try:
        checkpoint = Checkpoint.open(path)
        points: list[ParityPointJson] = []
        bundle = export(checkpoint, folder / "bundle", on_parity=points.extend)
        model = checkpoint.load()
        reference = Reference(model, model_spec(checkpoint, model), checkpoint.preprocessing)
        other = check(bundle, bundle.variant("fp32"), reference, "openvino")
        if (spread := models.spread(reference)) < 3 * TOLERANCE:
            return Result(name, head.name, f"fails: all clips give the same ({spread:.1e})", "", "")
    except Wav2EdgeError as error:
        return Result(name, head.name, f"fails: {error}", "", "")
    graph, shortest = bundle.graph(bundle.variant("fp32"), "full"), max(8000, bundle.spec.min_samples)
    built = subprocess.run(
        [sys.executable, "-c", models.BUILD, str(graph), "16", str(shortest), "320"],
        capture_output=True,
        text=True,
        check=False,
    )
    rtx = "builds" if built.returncode == 0 else built.stderr.strip().splitlines()[-1][:120]
    return Result(name, head.name, cell(points), cell(other), rtx)


def cell(points: list[ParityPointJson] | tuple[ParityPointJson, ...]) -> str:
    """The worst point of a run: its difference as a share of what is allowed."""
    failed = [point["name"] for point in points if not point["passed"]]
    if failed:
        return f"fails: {', '.join(failed)}"
    return f"{max(point['difference'] / point['limit'] for point in points if point['limit']):.4f}"


def main() -> int:
    """Measure all and print the table."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--model", action="append", help="only this one; may be repeated (default: all)")
    parser.add_argument("--results", metavar="FILE", type=Path, help="results of earlier runs, and of this one")
    arguments: argparse.Namespace = parser.parse_args()
    models, results = small_models(), known(arguments.results)
    for name, shape, _, head in combinations(models):
        if (arguments.model and name not in arguments.model) or (name, head.name) in results:
            continue
        with tempfile.TemporaryDirectory() as folder:
            result = results[name, head.name] = measure(models, name, shape, head, Path(folder))
        line = " | ".join(vars(result).values())
        print(line, file=sys.stderr, flush=True)
        if arguments.results is not None:
            with arguments.results.open("a", encoding="utf-8") as kept:
                kept.write(line + "\n")
    wanted = [results[key] for name, _, _, head in combinations(models) if (key := (name, head.name)) in results]
    with _kit.Output(arguments, markdown=True) as output:
        output.say(*rows(wanted))
    return int(not all(result.passed for result in wanted))


def known(file: Path | None) -> dict[tuple[str, str], Result]:
    """The results of earlier runs; empty without a file."""
    if file is None or not file.is_file():
        return {}
    lines = [line.split(" | ") for line in file.read_text(encoding="utf-8").splitlines()]
    return {(fields[0], fields[1]): Result(*fields) for fields in lines if len(fields) == 5}


def rows(results: list[Result]) -> list[str]:
    """A row for each model, a column for each head: ONNX Runtime / OpenVINO."""
    names = [head.name for head in HEADS]
    lines = [f"| model | {' | '.join(name.replace('_', ' ') for name in names)} | TensorRT for RTX |"]
    lines.append("|---" * (len(names) + 2) + "|")
    for model in dict.fromkeys(result.model for result in results):
        own = {result.head: result for result in results if result.model == model}
        cells = [f"{own[name].onnxruntime} / {own[name].openvino}" if name in own else "–" for name in names]
        builds = "; ".join(dict.fromkeys(result.rtx for result in own.values()))
        lines.append(f"| {model} | {' | '.join(cells)} | {builds} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
