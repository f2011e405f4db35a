"""``wav2edge selftest BUNDLE``: every engine × variant of this machine against the outputs kept at export."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wav2edge.cli import _options, _tables
from wav2edge.runtime.errors import EngineError, GateRefused

if TYPE_CHECKING:
    from wav2edge.runtime.selftest import SelftestResult

HELP = "check that engines here compute what the bundle's author saw"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="bundle to check (default: the demo model)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    _options.add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check and print a table; exit code 1 when one failed."""
    from wav2edge.runtime import selftest

    bundle = _options.open_bundle(arguments.bundle)
    outcomes = list(selftest.run(bundle, arguments.engine, arguments.variant, arguments.threads))
    if arguments.json:
        _options.write_json([dataclasses.asdict(outcome) for outcome in outcomes])
    else:
        _print(outcomes)
    ran = [outcome for outcome in outcomes if outcome.status in ("passed", "failed")]
    failed = [outcome for outcome in ran if outcome.status == "failed"]
    if failed:
        names = ", ".join(f"{outcome.variant} on {outcome.engine}" for outcome in failed)
        raise GateRefused(f"selftest failed: {names}; do not use it on this machine")
    if not ran:
        reasons = "; ".join(f"{outcome.engine} {outcome.variant}: {outcome.reason}" for outcome in outcomes)
        raise EngineError(f"nothing could run here ({reasons})")
    return 0


def _print(outcomes: Sequence[SelftestResult]) -> None:
    rows = [
        (
            outcome.engine,
            outcome.variant,
            "" if outcome.difference is None else f"{outcome.difference:.1e}",
            "" if outcome.cosine is None else f"{outcome.cosine:.6f}",
            "" if outcome.tokens is None else f"{outcome.tokens:.1%}",
            "" if outcome.same_text is None else ("same" if outcome.same_text else "differs"),
            "" if outcome.seconds is None else f"{outcome.seconds * 1000:.0f} ms",
            outcome.status,
        )
        for outcome in outcomes
        if outcome.status in ("passed", "failed")
    ]
    if rows:
        print(_tables.table(("engine", "variant", "max|Δ|", "cosine", "tokens", "text", "time", ""), rows, indent=""))
    for status in ("failed", "refused", "missing"):
        for outcome in outcomes:
            if outcome.status == status:
                print(f"{status}: {outcome.engine} {outcome.variant}".rstrip() + f": {outcome.reason}")
