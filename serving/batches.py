"""Put several runs of one stage together as one padded batch, and split its outputs.

Padding never changes a clip's result (the graph contract), so texts do not depend on the batch. Clips of a variant that
does not ``batches`` run one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle.spec import FEATURE_LENGTHS, FEATURES
from ..runtime.engines import Arrays

ALIKE = 1.25
"""Runs whose lengths differ by more than this are not padded to one batch."""


def joined(feeds: Sequence[Arrays]) -> Arrays:
    """The inputs of several runs of one stage, each a batch of one, as one batch padded with zeros."""
    if len(feeds) == 1:
        return feeds[0]
    return {name: _stacked([feed[name] for feed in feeds]) for name in feeds[0]}


def parted(outputs: Arrays, count: int) -> list[Arrays]:
    """The outputs of each of ``count`` runs, with a batch axis of one; features cut to the run's frames."""
    if count == 1:
        return [outputs]
    rows: list[Arrays] = []
    for index in range(count):
        row = {name: np.asarray(value)[index : index + 1] for name, value in outputs.items()}
        if FEATURES in row and FEATURE_LENGTHS in row:
            row[FEATURES] = row[FEATURES][:, : int(row[FEATURE_LENGTHS][0])]
        rows.append(row)
    return rows


def fits(lengths: Sequence[int], length: int, most: float) -> bool:
    """Whether a run of ``length`` samples may join others; most: samples of the padded batch."""
    shortest, longest = min(*lengths, length), max(*lengths, length)
    return longest <= ALIKE * shortest and longest * (len(lengths) + 1) <= most


def _stacked(arrays: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    if arrays[0].ndim == 1:  # lengths
        return np.concatenate(arrays)
    longest = max(array.shape[1] for array in arrays)
    stacked = np.zeros((len(arrays), longest, *arrays[0].shape[2:]), arrays[0].dtype)
    for row, array in zip(stacked, arrays):
        row[: array.shape[1]] = array[0]
    return stacked
