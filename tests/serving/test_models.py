"""How the models of a server are opened."""

from __future__ import annotations

import contextlib

import pytest

from wav2edge.runtime import model
from wav2edge.serving import models


@pytest.mark.parametrize(("threads", "lanes"), [(2, 1), (8, 2)])
def test_threads_spin_only_where_one_run_goes_on_at_a_time(
    monkeypatch: pytest.MonkeyPatch, threads: int, lanes: int
) -> None:
    """Two runs of base shape at once took 1.05 to 1.15 times as long where their threads span."""
    for module in (model, models):
        monkeypatch.setattr(module, "SMALL_BYTES", 1)
    with contextlib.closing(models.open_models((), "onnxruntime", threads=threads)) as catalogue:
        assert catalogue.settings.lanes == lanes
        assert catalogue.models[0].model.options.spin == (lanes == 1)
