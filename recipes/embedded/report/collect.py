"""Copy the logs of runs, the teacher head's error rates and the sizes of the stores into the recipe.

python -m recipes.embedded.report.collect --runs NAME=RUN+RUN --stores NAME=STORE… --head head.json
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from safetensors import safe_open

from ..frames import RATE
from ..speech.clips import ClipStore

LOGS = Path(__file__).resolve().parents[1] / "logs"


def store_sizes(folders: dict[str, Path]) -> dict[str, dict[str, dict[str, float]]]:
    """Return clips and minutes of every corpus in every store."""
    sizes: dict[str, dict[str, dict[str, float]]] = {}
    for name, folder in folders.items():
        for row in ClipStore(folder).rows:
            entry = sizes.setdefault(name, {}).setdefault(str(row["corpus"]), {"clips": 0, "minutes": 0.0})
            entry["clips"] += 1
            entry["minutes"] += float(str(row["samples"])) / RATE / 60
    return {n: {c: {k: round(v, 1) for k, v in e.items()} for c, e in s.items()} for n, s in sizes.items()}


def count_parameters(weights: Path) -> int:
    """Return how many numbers a safetensors file has."""
    with safe_open(weights, "numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping


def main() -> None:
    """Copy what the card and the curves are drawn from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", nargs="*", default=[], help="NAME=folder of a training run, several joined by +")
    parser.add_argument("--stores", nargs="*", default=[], help="NAME=folder of a clip store")
    parser.add_argument("--head", type=Path, help="the teacher head's head.json")
    parser.add_argument("--logs", type=Path, default=LOGS, help="folder to copy to")
    options = parser.parse_args()
    options.logs.mkdir(parents=True, exist_ok=True)
    for item in options.runs:
        name, folders = item.split("=", 1)
        rows: list[dict[str, object]] = []
        hours = minutes = 0.0
        for folder in folders.split("+"):
            part = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text("utf-8").splitlines()]
            for row in part:
                row["audio_hours"], row["cpu_minutes"] = row["audio_hours"] + hours, row["cpu_minutes"] + minutes
            rows += part
            if (weights := Path(folder) / "checkpoint/model.safetensors").exists():
                part[0]["parameters"] = count_parameters(weights)
            hours, minutes = rows[-1]["audio_hours"], rows[-1]["cpu_minutes"]  # type: ignore[assignment]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (options.logs / f"{name}.jsonl").write_text(text, "utf-8")
    if options.stores:
        folders_of = {name: Path(folder) for name, folder in (item.split("=", 1) for item in options.stores)}
        (options.logs / "stores.json").write_text(json.dumps(store_sizes(folders_of), indent=1) + "\n")
    if options.head:
        (options.logs / "head.json").write_text(options.head.read_text())


if __name__ == "__main__":
    main()
