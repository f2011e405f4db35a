"""``wav2edge selftest BUNDLE``: check that models compute the same here as where they were exported."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wav2edge.measure import tables
from wav2edge.runtime.errors import EngineError, GateRefused

from . import _options, _terminal
from ._command import command
from ._options import Several

if TYPE_CHECKING:
    from wav2edge.runtime.selftest import SelftestResult


@command(
    "wav2edge selftest my-bundle",
    "wav2edge selftest my-bundle --engine onnxruntime --variant fp32,int8-u8s8",
)
@_options.bundle_argument("bundle to check")
@_options.json_file("print the results as JSON instead")
@_options.several_engines("only these engines (default: every one here)", "only these variants (default: all)")
def run(bundle: str | None, model: str | None, json: str | None, several: Several) -> int:
    """Check that models compute the same here as where they were exported.

    A bundle holds two clips and the outputs that its model gave for them when it was exported. Every engine and variant
    that runs here is run on those clips and compared. Exit code 1 when one differs by more than its precision allows.
    Of a model that transcribes, `tokens` counts the frames that have a clear best label; INT8 may change the others,
    and with them the text.
    """
    from wav2edge.runtime import selftest

    _options.check_device(several)
    opened = _options.open_bundle(_options.which(bundle, model))
    found = selftest.run(
        opened,
        several.engine or None,
        several.variant or None,
        _options.threads_or_default(several.threads),
        several.device,
    )
    results = list(found)
    if json is not None:
        _terminal.write_json([dataclasses.asdict(result) for result in results], json)
    if json != "-":
        _print(results)
    ran = [result for result in results if result.status in ("passed", "failed")]
    failed = [result for result in ran if result.status == "failed"]
    if failed:
        names = ", ".join(f"{result.variant} on {result.engine}" for result in failed)
        raise GateRefused(f"selftest failed: {names}; do not use it on this machine")
    if not ran:
        reasons = "; ".join(f"{_name(result)}: {result.reason}" for result in results)
        raise EngineError(f"nothing could run here ({reasons})")
    return 0


def _name(result: SelftestResult) -> str:
    """The engine, and the variant where it was a variant that did not run."""
    return f"{result.engine} {result.variant}".rstrip()


def _print(results: Sequence[SelftestResult]) -> None:
    rows = [
        (
            result.engine,
            result.variant,
            "" if result.difference is None else f"{result.difference:.1e}",
            "" if result.cosine is None else f"{result.cosine:.6f}",
            "" if result.tokens is None else f"{result.tokens:.1%}",
            "" if result.same_text is None else ("same" if result.same_text else "differs"),
            "" if result.seconds is None else f"{result.seconds * 1000:.0f} ms",
            result.status,
        )
        for result in results
        if result.status in ("passed", "failed")
    ]
    if rows:
        headings = ("engine", "variant", "max|Δ|", "cosine", "tokens", "text", "time", "")
        _terminal.out(tables.table(headings, rows, indent=""))
    for status in ("failed", "refused", "missing"):
        for result in results:
            if result.status == status:
                _terminal.out(f"{status}: {_name(result)}: {result.reason}")
