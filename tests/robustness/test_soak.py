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
