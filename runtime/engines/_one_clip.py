"""Batches for graphs that take one clip at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from . import Arrays, Session


class OneClip:
    """A session whose graph takes a batch of 1 (``ModelSpec.max_batch``): larger ones are run clip by clip."""

    def __init__(self, session: Session) -> None:
        """Wrap a session."""
        self.inner = session
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, feeds: Arrays) -> Arrays:
        """As ``Session.run``; time axes are padded with zeros to the longest clip's."""
        count = len(next(iter(feeds.values())))
        if count == 1:
            return self.inner.run(feeds)
        clips = [self.inner.run({name: value[i : i + 1] for name, value in feeds.items()}) for i in range(count)]
        return stacked(clips)

    def close(self) -> None:
        """Release what the session holds."""
        self.inner.close()


def stacked(clips: Sequence[Arrays]) -> Arrays:
    """The outputs of clips that were run one by one, as those of a batch: padded with zeros to the longest."""
    return {name: _joined([np.asarray(clip[name]) for clip in clips]) for name in clips[0]}


def _joined(parts: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    shape = (len(parts), *(max(part.shape[axis] for part in parts) for axis in range(1, parts[0].ndim)))
    whole = np.zeros(shape, parts[0].dtype)
    for row, part in zip(whole, parts):
        row[tuple(slice(size) for size in part.shape[1:])] = part[0]
    return whole
