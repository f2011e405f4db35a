"""Systems that are evaluated: which ones, what they are called, and the document that comes out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest

from wav2edge.measure import evaluation
from wav2edge.measure.evaluation import EvaluationDocument, System, SystemHypotheses
from wav2edge.measure.manifest import Row
from wav2edge.runtime import documents
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import EngineError

ROWS = tuple(Row(Path(f"{n}.wav"), f"some words {n}", "ab"[n % 2], f"m:{n}") for n in range(6))


def recognised(variant: str, texts: tuple[str, ...], decoding: evaluation.DecodingName = "greedy") -> SystemHypotheses:
    return SystemHypotheses(System("models/b", "onnxruntime", variant, decoding), texts, 60.0, 2.0, ())


def test_the_document_fits_its_schema() -> None:
    right = tuple(row.text for row in ROWS)
    found = evaluation.evaluate(ROWS, [recognised("fp32", right), recognised("int8", ("", *right[1:]))])
    document = json.loads(json.dumps(evaluation.to_json(found), allow_nan=False))
    jsonschema.Draft202012Validator(documents.schema(EvaluationDocument)).validate(document)
    assert documents.check(document, EvaluationDocument, "here") == document
    assert [system["variant"] for system in document["systems"]] == ["fp32", "int8"]
    assert document["differences"][-1]["corpus"] == "all"


def test_all_that_run_are_evaluated_and_what_is_named_must_run(shapes_bundle: Bundle) -> None:
    chosen = evaluation.systems(shapes_bundle, ["null"], decodings=("greedy", "beam"))
    assert [(system.engine, system.variant, system.decoding) for system in chosen] == [
        ("null", "fp32", "greedy"),
        ("null", "fp32", "beam"),
    ]
    assert all(system.engine != "null" for system in evaluation.systems(shapes_bundle))
    with pytest.raises(EngineError, match="engine torch: "):
        evaluation.systems(shapes_bundle, ["null", "torch"])


def test_labels_say_no_more_than_they_need() -> None:
    one = System("models/old", "onnxruntime", "fp32")
    assert evaluation.labels([one]) == ["onnxruntime fp32"]
    other = System("models/new/", "onnxruntime", "fp32", "beam")
    assert evaluation.labels([one, other]) == ["old onnxruntime fp32 greedy", "new onnxruntime fp32 beam"]


def test_a_named_variant_that_no_engine_runs_is_an_error(
    shapes_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a named engine it was left out of the table, and the exit code was 0."""
    from wav2edge.runtime import engines

    other = dataclasses.replace(shapes_bundle.variant("fp32"), name="bf16")
    both = dataclasses.replace(shapes_bundle, variants=(*shapes_bundle.variants, other))
    for engine in engines.DEFAULT_ORDER:
        monkeypatch.setattr(
            engines.get(engine), "refuses", lambda spec, variant: "no bf16 here" if variant.name == "bf16" else None
        )
    with pytest.raises(EngineError, match="onnxruntime does not run bf16: no bf16 here") as raised:
        evaluation.systems(both, variants=["fp32", "bf16"], among=engines.DEFAULT_ORDER)
    assert "fp32" not in str(raised.value)
    assert {one.variant for one in evaluation.systems(both, among=engines.DEFAULT_ORDER)} == {"fp32"}
