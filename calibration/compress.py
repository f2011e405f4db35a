"""Remove from a model what its words do not need: layers, heads and inner units, without training.

1. The moments of every part are summed up over the calibration speech.
2. In each branch the units are ranked: those go first whose removal changes the branch's output least, after the others
   have taken over what they can (``rank``). Inner units go in eighths.
3. Each removal is tried alone on a few pieces of speech: the noise that it adds to the logits, against the time that it
   saves. Removals are ordered by noise for each share of the time.
4. As many of them, in that order, are made together as the gate allows on the clips that judge: 1, 2, 4, 8 … until it
   refuses, then halving.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.bundle.read import Bundle, Variant
from wav2edge.runtime.bundle.write import describe_variant
from wav2edge.runtime.errors import InputError

from ..graphs.graph import Graph
from ..graphs.nodes import Tensor
from ..graphs.storage import save_model
from .clips import Clips
from .closeness import Logits, sqnr
from .judge import Judge, Measured
from .observe import Progress, Samples, run_with_outputs
from .options import Options
from .parts import Branch, Layer, Removal, find_branches, find_layers
from .passes.remove_parts import Matrix, Moments, Seen, damped, remove_parts
from .prepare import counted
from .sensitivity import FRAMES, some_pieces
from .work import Work

GROUPS = 8
"""Into how many groups the inner units of a feed-forward are put, of which one at least stays."""
NOTHING = "no layer, head or inner unit can be removed within the gate"
"""Why a run that removes nothing adds nothing."""


@dataclass(frozen=True)
class RemovalStep:
    """One removal, and what it costs and saves."""

    part: str
    """The path of a layer, or of a branch."""
    units: tuple[int, ...]
    """The units that go; none for a whole layer."""
    noise: float
    """The power of what it alone changes in the logits, as a share of their power."""
    saved: float
    """The share of the transformer's multiplications that it saves."""

    @property
    def price(self) -> float:
        """Noise for each share of the multiplications."""
        return self.noise / self.saved


@dataclass(frozen=True)
class Compressor:
    """Makes graphs without some of their parts."""

    graph: Graph
    """The whole fp32 graph."""
    seen: Mapping[str, Seen]
    """The moments of each part, by path."""
    steps: tuple[RemovalStep, ...]
    """Every removal, the cheapest first."""

    def removal(self, count: int) -> Removal:
        """The first ``count`` steps together."""
        return combined(self.steps[:count])

    def without(self, removal: Removal) -> Graph:
        """A copy of the graph without some of its parts."""
        graph = self.graph.copy()
        remove_parts(graph, removal, self.seen)
        return graph


def compress(
    bundle: Bundle,
    graph: Graph,
    clips: Clips,
    judge: Judge,
    folder: Path,
    options: Options,
    progress: Progress,
    work: Work,
) -> tuple[Removal, Graph]:
    """What the gate allows to remove, and a graph without it; nothing and the same graph where it allows nothing.

    The removal alone may use half of the budget; the other half is for the number scheme. work: keeps the number of
    removals that was found.
    """
    compressor = prepare_removals(graph, clips, folder, options.threads, progress)
    kept = work.read("removals")
    count = -1 if kept is None else int(kept["count"])
    if count < 0:
        count = most_allowed(
            len(compressor.steps),
            lambda tried: options.budget.half.loss(judged(bundle, compressor, tried, judge, folder)) is None,
        )
        work.write("removals", {"count": np.array(count)})
    removal = compressor.removal(count)
    return removal, compressor.without(removal) if removal else graph


def need_parts(bundle: Bundle, graph: Graph) -> None:
    """Raise InputError for a graph in which no layer and no part of one is found."""
    if not find_layers(graph) and not find_branches(graph):
        raise InputError(
            f"{bundle.path}: no layers are found in its graph, so none can be removed; export the model again from its "
            "checkpoint, or leave out compress"
        )


def prepare_removals(
    graph: Graph, clips: Clips, folder: Path, threads: int | None, progress: Progress = lambda *_: None
) -> Compressor:
    """Rules 1 to 3."""
    branches, layers = find_branches(graph), find_layers(graph)
    seen = moments(graph, branches, layers, clips, folder, threads, progress)
    pieces = some_pieces(clips.pieces(), clips.spec.sample_rate)
    trial = _Trial(Compressor(graph, seen, ()), pieces, clips.spec.outputs[0].name, folder, threads)
    ranks = {branch.path: rank(graph, branch, seen[branch.path].own) for branch in branches}
    alone: dict[str, list[tuple[int, ...]]] = {layer.path: [()] for layer in layers}
    alone |= ranks
    costs = multiplications(graph, branches, layers)
    total, done = sum(map(len, alone.values())), 0
    steps: list[RemovalStep] = []
    for path, groups in alone.items():
        before = 0.0
        for place, units in enumerate(groups):
            progress("trying what can be removed", done, total)
            done += 1
            gone = tuple(unit for group in groups[: place + 1] for unit in group)
            noise = trial.noise(Removal(units={path: gone}) if gone else Removal(frozenset({path})))
            steps.append(RemovalStep(path, units, max(noise - before, 0.0), costs[path] * (len(units) or 1)))
            before = max(before, noise)
    return Compressor(graph, seen, ordered(steps))


def ordered(steps: Sequence[RemovalStep]) -> tuple[RemovalStep, ...]:
    """The cheapest first, the removals of one part in the order in which they were ranked."""
    waiting: dict[str, list[RemovalStep]] = {}
    for step in steps:
        waiting.setdefault(step.part, []).append(step)
    result: list[RemovalStep] = []
    while waiting:
        part = min(waiting, key=lambda name: (waiting[name][0].price, name))
        result.append(waiting[part].pop(0))
        if not waiting[part]:
            del waiting[part]
    return tuple(result)


def combined(steps: Sequence[RemovalStep]) -> Removal:
    """Several removals as one."""
    units: dict[str, tuple[int, ...]] = {}
    for step in steps:
        if step.units:
            units[step.part] = (*units.get(step.part, ()), *step.units)
    return Removal(frozenset(step.part for step in steps if not step.units), units)


def most_allowed(steps: int, allowed: Callable[[int], bool]) -> int:
    """Rule 4: the largest number of steps that passes, if more steps never pass where fewer do not."""
    low, high = 0, 1
    while high <= steps and allowed(high):
        low, high = high, 2 * high
    high = min(high, steps + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if allowed(middle):
            low = middle
        else:
            high = middle
    return low


def judged(bundle: Bundle, compressor: Compressor, count: int, judge: Judge, folder: Path) -> Measured:
    """The first ``count`` removals together, in fp32, on the clips that judge."""
    variant = written(compressor.without(compressor.removal(count)), folder)
    staged = dataclasses.replace(bundle, path=folder, variants=(variant,))
    return judge.judge(staged, variant, f"{count} of {len(compressor.steps)} removals")


def written(graph: Graph, folder: Path) -> Variant:
    """Write a full fp32 graph."""
    data = "compressed.data"
    save_model(graph.to_model(), folder / "compressed.onnx", data)
    return describe_variant(folder, "compressed", "fp32", {"full": "compressed.onnx"}, data=(data,))


def moments(
    graph: Graph,
    branches: Sequence[Branch],
    layers: Sequence[Layer],
    clips: Clips,
    folder: Path,
    threads: int | None,
    progress: Progress = lambda *_: None,
) -> dict[str, Seen]:
    """Rule 1: the moments of every part over the speech."""
    seen = {branch.path: Seen(Moments()) for branch in branches}
    seen |= {layer.path: Seen(Moments(), Moments()) for layer in layers}
    read = {branch.path: graph.node(branch.reader).input[0] for branch in branches}
    names = tuple(dict.fromkeys([*read.values(), *(name for layer in layers for name in (layer.source, layer.output))]))

    def add(outputs: Mapping[str, Tensor]) -> None:
        rows = {name: _rows(values) for name, values in outputs.items()}
        for path, name in read.items():
            seen[path].own.add(rows[name], rows[name])
        for layer in layers:
            found = seen[layer.path]
            assert found.target is not None
            found.own.add(rows[layer.source], rows[layer.source])
            found.target.add(rows[layer.source], rows[layer.output])

    run_with_outputs(graph, names, counted(clips, "looking at each part", progress), folder, add, threads)
    return seen


def rank(graph: Graph, branch: Branch, own: Moments) -> list[tuple[int, ...]]:
    """Rule 2: the units of a branch in groups, the least needed first; the last group, which stays, is left out.

    The change of the output when a group goes, the others fitted: the trace of W' inv(inv(C)[group]) W, for the
    weight's rows W of the group and the covariance C of all that are left (Optimal Brain Surgeon).
    """
    covariance = own.covariance
    weight: Matrix = graph.floats(graph.node(branch.reader).input[1]).astype(np.float64)
    count = branch.units if branch.kind == "heads" else min(GROUPS, branch.units)
    sizes = [len(part) for part in np.array_split(np.arange(branch.units), count)]
    left = np.arange(branch.units)
    groups: list[tuple[int, ...]] = []
    for size in sizes[:-1]:
        columns = (left[:, None] * branch.size + np.arange(branch.size)).reshape(-1)
        inverse = np.asarray(np.linalg.inv(damped(covariance[np.ix_(columns, columns)])), np.float64)
        rows = _fitted(covariance, weight, columns)
        errors = _errors(inverse, rows, branch.size)
        chosen = np.sort(np.argsort(errors, kind="stable")[:size])
        groups.append(tuple(int(unit) for unit in left[chosen]))
        left = np.delete(left, chosen)
    return groups


def multiplications(graph: Graph, branches: Sequence[Branch], layers: Sequence[Layer]) -> dict[str, float]:
    """The share of the transformer's multiplications of each unit of a branch, and of each layer."""
    units = {}
    for branch in branches:
        read = graph.weights[graph.node(branch.reader).input[1]].shape[1]
        fed = sum(graph.weights[graph.node(name).input[1]].shape[0] for name in branch.writers)
        units[branch.path] = branch.size * float(read + fed + (2 * FRAMES if branch.kind == "heads" else 0))
    whole = {branch.path: units[branch.path] * branch.units for branch in branches}
    total = sum(whole.values()) or 1.0
    costs = {path: cost / total for path, cost in units.items()}
    for layer in layers:
        costs[layer.path] = sum(whole[branch.path] for branch in branches if branch.layer == layer.path) / total
    return {path: max(cost, 1e-9) for path, cost in costs.items()}


@dataclass(frozen=True)
class _Trial:
    """Runs graphs without some of their parts on a few pieces of speech."""

    compressor: Compressor
    pieces: Sequence[Samples]
    output: str
    folder: Path
    threads: int | None
    _whole: list[Logits] = dataclasses.field(default_factory=list)

    def noise(self, removal: Removal) -> float:
        """The power of the change in the logits over their power."""
        if not self._whole:
            self._whole.extend(self._logits(self.compressor.graph))
        decibels = sqnr(self._whole, self._logits(self.compressor.without(removal)))
        return float(10 ** (-decibels / 10))

    def _logits(self, graph: Graph) -> list[Logits]:
        logits: list[Logits] = []
        run_with_outputs(
            graph, (self.output,), self.pieces, self.folder, lambda o: logits.append(o[self.output][0]), self.threads
        )
        return logits


def _fitted(covariance: Matrix, weight: Matrix, kept: NDArray[np.int64]) -> Matrix:
    gone = np.setdiff1d(np.arange(len(covariance)), kept)
    if not len(gone):
        return weight
    inside = damped(covariance[np.ix_(kept, kept)])
    fitted: Matrix = weight[kept] + np.linalg.solve(inside, covariance[np.ix_(kept, gone)] @ weight[gone])
    return fitted


def _errors(inverse: Matrix, rows: Matrix, size: int) -> Matrix:
    """What the removal of each unit of ``size`` rows changes in the output."""
    if size == 1:
        alone: Matrix = (rows**2).sum(axis=1) / np.diag(inverse)
        return alone
    found = []
    for start in range(0, len(rows), size):
        own = slice(start, start + size)
        found.append(float(np.trace(rows[own].T @ np.linalg.solve(inverse[own, own], rows[own]))))
    return np.array(found)


def _rows(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(values, np.float32).reshape(-1, values.shape[-1])
