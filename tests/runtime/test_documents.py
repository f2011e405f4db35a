"""JSON from outside is checked against its type, and the first wrong field is named."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

import jsonschema
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from wav2edge.runtime import documents
from wav2edge.runtime.errors import InputError


class Inner(TypedDict):
    kind: Literal["a", "b"]
    numbers: list[float]


class Whole(TypedDict):
    name: str
    count: int
    share: float | None
    inner: list[Inner]
    words: dict[str, str]


GOOD: dict[str, object] = {
    "name": "x",
    "count": 1,
    "share": None,
    "inner": [{"kind": "a", "numbers": [1, 2.5]}],
    "words": {"k": "v"},
    "unknown": [1],
}


def test_a_good_document_passes_both_ways() -> None:
    assert documents.check(GOOD, Whole, "here") is GOOD
    jsonschema.validate(GOOD, documents.schema(Whole))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": 3}, "name must be text, it is 3"),
        ({"count": 1.5}, "count must be a whole number"),
        ({"count": True}, "count must be a whole number, it is true"),
        ({"share": "half"}, "share must be a number"),
        ({"inner": [{"kind": "c", "numbers": []}]}, r"inner\[0\].kind must be one of a, b"),
        ({"inner": [{"kind": "a", "numbers": [1, "2"]}]}, r"inner\[0\].numbers\[1\] must be a number"),
        ({"inner": [{"kind": "a"}]}, r"inner\[0\].numbers must be a value"),
        ({"inner": {"kind": "a"}}, "inner must be a list, it is dict"),
        ({"words": {"k": 1}}, "words.k must be text"),
    ],
)
def test_the_wrong_field_is_named(change: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        documents.check({**GOOD, **change}, Whole, "here")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**GOOD, **change}, documents.schema(Whole))


@pytest.mark.parametrize("field", ["count", "share"])
def test_numbers_that_arithmetic_would_overflow_on_are_refused(field: str) -> None:
    with pytest.raises(InputError, match=f"{field} must be a"):
        documents.check({**GOOD, field: 10**400}, Whole, "here")


def test_another_kind_of_document_is_named() -> None:
    with pytest.raises(InputError, match="the document must be an object"):
        documents.check([], Whole, "here")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[" * 200_000, b'{"name": ' + b"9" * 5000 + b"}", b"\xef\xbb\xbfnull", b"NaN"]
)
def test_files_that_hold_no_document_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        documents.read(path, Whole, "a whole")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        documents.read(tmp_path / "gone.json", Whole, "a whole")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**63, 2**63 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "kind", "numbers"]), inner),
    max_leaves=15,
)


@seed(11)
@settings(max_examples=200, deadline=None)
@given(JSON, st.sampled_from(list(GOOD)))
def test_whatever_comes_is_taken_as_the_schema_takes_it_or_refused(value: object, field: str) -> None:
    """Jsonschema takes 1.0 for an integer, which Python's type is not; that alone is refused more strictly."""
    document = {**GOOD, field: value}
    valid = jsonschema.Draft202012Validator(documents.schema(Whole)).is_valid(document)
    try:
        documents.check(document, Whole, "here")
    except InputError:
        assert not valid or (field == "count" and isinstance(value, float))
    else:
        assert valid
