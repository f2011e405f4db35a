"""Average the weights of several moments of one training into a checkpoint.

    python mix.py CHECKPOINT run/state.pt=2 earlier/state.pt=1 --dev STORE

The averages of states that share a past lie in one basin, and their mean is better than any of them on voices that none
of them heard (Wortsman et al., 2022: "Model soups").
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from batches import Speech
from evaluate import measure
from model import Student, open_checkpoint, save_checkpoint
from torch import Tensor


def mixed(states: dict[Path, float]) -> dict[str, Tensor]:
    """Return the weighted mean of the averaged weights of `train.py` states; the shares may have any sum."""
    total = sum(states.values())
    mean: dict[str, Tensor] = {}
    for path, share in states.items():
        for name, value in torch.load(path, map_location="cpu", weights_only=True)["average"].items():
            mean[name] = mean.get(name, 0.0) + value.float() * (share / total)
    return mean


def main() -> None:
    """Write the mean into the checkpoint, whose form the states must have, and print its reading of dev."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="a checkpoint folder whose weights are replaced")
    parser.add_argument("states", nargs="+", metavar="STATE=SHARE")
    parser.add_argument("--dev", type=Path, required=True, help="a clip store")
    options = parser.parse_args()
    shares = {Path(path): float(share) for path, share in (item.rsplit("=", 1) for item in options.states)}
    student = Student(open_checkpoint(options.out)).eval()
    student.load_state_dict(mixed(shares))
    save_checkpoint(student.net, options.out)
    print(json.dumps(measure(student, Speech([options.dev], False))))


if __name__ == "__main__":
    main()
