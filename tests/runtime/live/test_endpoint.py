"""Endpoint rules."""

from __future__ import annotations

import pytest

from wav2edge.runtime.live.endpoint import EndpointRules


@pytest.mark.parametrize(
    ("silence", "blank", "length", "text", "reason"),
    [
        (1.3, 0.0, 5.0, True, "silence"),
        (1.3, 0.0, 5.0, False, None),
        (2.5, 0.0, 5.0, False, "silence"),
        (0.0, 2.5, 5.0, True, "blank"),
        (0.0, 0.0, 20.0, True, "length"),
        (0.0, 1.3, 19.0, True, None),
    ],
)
def test_endpoint_rules(silence: float, blank: float, length: float, text: bool, reason: str | None) -> None:
    assert EndpointRules().ended(silence, blank, length, text) == reason
