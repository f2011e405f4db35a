"""Make the tiny group-norm checkpoint that tests export: random weights with clear label scores."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .model import new_model, save_checkpoint, tiny_group_config


def main() -> None:
    """Write the checkpoint folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    model = new_model(tiny_group_config())
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.5)
        for parameter in model.wav2vec2.encoder.layers.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, parameter.shape[1] ** -0.5)
    print(save_checkpoint(model, options.folder), "parameters")


if __name__ == "__main__":
    main()
