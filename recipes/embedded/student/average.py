"""Average the weights of several moments of one training into a checkpoint.

    python -m recipes.embedded.student.average CHECKPOINT run/state.pt=2 earlier/state.pt=1 --dev STORE

Weights that share a training history have a mean that does better on unseen voices than any of them (Wortsman et al.,
"Model soups", 2022).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from ..speech.clips import store_folder
from ..speech.dataset import Dataset
from .decode import measure
from .model import Student, load_weights, open_checkpoint, save_checkpoint


def averaged(weights: dict[Path, float]) -> dict[str, Tensor]:
    """Return the weighted mean of `state.pt` files of train.py (their running averages) and of checkpoint folders."""
    total = sum(weights.values())
    mean: dict[str, Tensor] = {}
    for path, share in weights.items():
        for name, value in _weights(path).items():
            mean[name] = mean.get(name, torch.zeros(())) + value.float() * (share / total)
    return mean


def _weights(path: Path) -> dict[str, Tensor]:
    if path.is_dir():
        return {"net." + name: value for name, value in load_weights(path).items()}
    average: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["average"]
    return average


def main() -> None:
    """Write the mean into the checkpoint, whose shape the others must have, and print its error rates on dev."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="a checkpoint folder whose weights are replaced")
    parser.add_argument("weights", nargs="+", metavar="STATE=SHARE", help="state.pt or checkpoint folder, and share")
    parser.add_argument("--dev", type=store_folder, required=True, help="a clip store")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shares = {Path(path): float(share) for path, share in (item.rsplit("=", 1) for item in options.weights)}
    student = Student(open_checkpoint(options.out)).eval()
    student.load_state_dict(averaged(shares))
    save_checkpoint(student.net, options.out)
    print(json.dumps(measure(student, Dataset([options.dev], False))))


if __name__ == "__main__":
    main()
