"""The search on costs that are known, so that its answer can be."""

from __future__ import annotations

from wav2edge.calibration.search import search
from wav2edge.calibration.sensitivity import Sensitivity

ORDER = tuple(Sensitivity(f"layer{index}", 10.0 + index, cost=0.1) for index in range(16))


def run(harm: dict[str, float], budget: float) -> tuple[frozenset[str], bool, int]:
    tried: list[frozenset[str]] = []

    def build(layers: frozenset[str]) -> float:
        tried.append(layers)
        return sum(value for layer, value in harm.items() if layer not in layers)

    found = search(ORDER, build, lambda total: total <= budget)
    assert len(tried) == len(set(tried)) == found.trials, "nothing is built twice"
    return found.float_layers, found.passes, found.trials


def test_nothing_is_put_back_where_nothing_is_lost() -> None:
    assert run({"layer0": 0.1}, 0.5) == (frozenset(), True, 1)


def test_the_one_bad_layer_is_found_and_nothing_else_stays() -> None:
    for bad in ("layer0", "layer5", "layer15"):
        kept, inside, trials = run({bad: 10.0}, 0.5)
        assert inside and kept == {bad} and trials <= 30


def test_two_bad_layers() -> None:
    kept, inside, _ = run({"layer1": 5.0, "layer6": 5.0, "layer9": 0.2}, 0.5)
    assert inside and kept == {"layer1", "layer6"}


def test_a_model_that_no_layer_saves_is_not_inside() -> None:
    kept, inside, _ = run({"elsewhere": 10.0}, 0.5)
    assert not inside and kept == frozenset()


def test_everything_in_float_is_no_answer() -> None:
    """It is fp32 again: it passed on words, was refused as not faster, or was kept where it could not be timed."""
    for layers in (ORDER[:1], ORDER[:5], ORDER):
        whole = {item.layer for item in layers}
        found = search(layers, whole.difference, lambda quantized: not quantized)
        assert not found.passes and found.float_layers == frozenset() and found.result == whole
