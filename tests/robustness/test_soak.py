"""What the soak calls growth: a slope beyond the noise of an allocator, files or threads that do not come back."""

from __future__ import annotations

import numpy as np
import pytest
import soak


@pytest.mark.parametrize(
    ("megabytes", "files", "threads", "problem"),
    [(0, 0, 0, None), (40, 0, 0, "memory grows"), (0, 9, 0, "open files grow"), (0, 0, 9, "open threads grow")],
)
def test_growth_is_found(megabytes: float, files: float, threads: float, problem: str | None) -> None:
    random, steps = np.random.default_rng(1), np.linspace(0, 1, 60)
    columns = (3600 * steps, 500 + megabytes * steps + random.normal(0, 2, 60), 20 + files * steps, 8 + threads * steps)
    problems = soak.judged(np.stack(columns, axis=1))["problems"]
    assert isinstance(problems, list)
    assert (problem is None and not problems) or (problem is not None and problem in str(problems[0]))


def test_too_few_rounds_are_not_judged() -> None:
    """Four rounds, in which OpenVINO compiled for new lengths, were called growth."""
    samples = np.stack([np.linspace(0, 480, soak.ENOUGH - 1), *np.ones((3, soak.ENOUGH - 1))], axis=1)
    assert soak.judged(samples)["problems"] == [
        f"too few rounds to judge: {soak.ENOUGH - 1}, 30 are needed; run longer"
    ]
    one_more = np.concatenate((samples, samples[-1:]))
    assert soak.judged(one_more)["problems"] == []


def test_what_comes_to_rest_is_no_growth() -> None:
    """Memory of caches that fill: most of it within the rounds that are left out."""
    rounds = np.arange(soak.WARM, soak.WARM + 200)
    memory = 430 - 190 * np.exp(-rounds / 25)
    samples = np.stack([rounds * 8.0, memory, np.full(200, 20.0), np.full(200, 8.0)], axis=1)
    assert soak.judged(samples)["problems"] == []
