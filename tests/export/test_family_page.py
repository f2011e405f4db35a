"""docs/explanation/family.md: its table is what benchmarks/family_matrix.py writes, and it explains every class."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from transformers.models.auto import modeling_auto

from wav2edge.export.families import FAMILIES, HEADS, Family

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "family.md").read_text("utf-8")
TABLE = ROOT / "docs" / "figures" / "family-matrix.md"
AUTO = (
    modeling_auto.MODEL_FOR_CTC_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_AUDIO_FRAME_CLASSIFICATION_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_AUDIO_XVECTOR_MAPPING_NAMES,
)


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("family_matrix", ROOT / "benchmarks" / "family_matrix.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["family_matrix"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "benchmarks"))
    return module


def test_heads_are_those_of_transformers() -> None:
    for family in FAMILIES:
        has = {head.name for head in HEADS if hasattr(transformers, family.classes + head.suffix)}
        assert {head.name for head in family.heads} == has, family.name


def test_every_class_is_exported_or_explained() -> None:
    exported = {family.classes + head.suffix for family in FAMILIES for head in family.heads}
    known = {name for names in AUTO for name in names.values()}
    for family in FAMILIES:
        known |= {name for name in (f"{family.classes}ForPreTraining",) if hasattr(transformers, name)}
    assert {name for name in known - exported if name not in PAGE} == set()


def test_the_table_is_complete_and_every_cell_passes(matrix: ModuleType) -> None:
    """A row for each shape, of every architecture, and a cell for each head that it has: numbers below 1."""
    rows = {}
    for line in TABLE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(HEADS) + 2 and cells[0] not in ("model", "---"):
            rows[cells[0]] = cells[1:-1]
    offered: dict[str, tuple[Family, list[str]]] = {}
    for name, _, family, head in matrix.combinations(matrix.small_models()):
        offered.setdefault(name, (family, []))[1].append(head.name)
    assert set(rows) == set(offered)
    assert {family.name for family, _ in offered.values()} == {row.name for row in FAMILIES}
    for name, cells in rows.items():
        heads = offered[name][1]
        for head, cell in zip(HEADS, cells):
            if head.name in heads:
                assert all(0 <= float(share) < 1 for share in cell.split(" / ")), (name, head.name, cell)
            else:
                assert cell == "–"


def test_a_dash_is_what_transformers_refuses(matrix: ModuleType) -> None:
    """A head that is left out of a row is one that transformers has no class for, or cannot build or run."""
    models = matrix.small_models()
    samples = torch.zeros(1, 160, 160)  # log-mel frames: the shapes with adapters are of Wav2Vec2-BERT
    for settings in models.ARCHITECTURES.values():
        shape = {key: value for key, value in settings.items() if key not in ("head", "classes")}
        for head in HEADS:
            if "add_adapter" in shape and not matrix.accepted(shape, head):
                config: Any = transformers.Wav2Vec2BertConfig(**{**models.TINY, **models.TDNN, **shape})
                with pytest.raises((ValueError, RuntimeError)):
                    getattr(transformers, f"{settings['classes']}{head.suffix}")(config)(samples)


def test_a_failure_shows_in_the_table(matrix: ModuleType) -> None:
    passed = matrix.Result("wavlm", "ctc", "0.1", "0.2", "builds")
    failed = matrix.Result("wavlm", "encoder", "fails: 30 s", "0.2", "builds")
    assert passed.passed and not failed.passed
    assert "| wavlm | 0.1 / 0.2 | – | – | – | fails: 30 s / 0.2 | builds |" in matrix.rows([passed, failed])
