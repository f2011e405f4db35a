"""``wav2edge inspect BUNDLE``: what a bundle holds and what was proven about it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from wav2edge.cli import _options, _tables
from wav2edge.runtime.bundle.read import Bundle

HELP = "show a bundle: spec, variants, sizes, parity, WER"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="bundle to show (default: the embedded demo model)")
    parser.add_argument("--json", action="store_true", help="print bundle.json as it stands")
    parser.add_argument("--verify", action="store_true", help="check the SHA-256 of every file as well")


def run(arguments: argparse.Namespace) -> int:
    """Print the bundle."""
    bundle = _options.open_bundle(arguments.bundle)
    if arguments.verify:
        for variant in bundle.variants:
            bundle.verify(variant)
        for name in bundle.raw["files"]:
            bundle.file(name)
    if arguments.json:
        _options.write_json(bundle.raw)
        return 0
    _print_spec(bundle)
    _print_variants(bundle)
    _print_provenance(bundle.provenance)
    if arguments.verify:
        print("\nall files match their SHA-256")
    return 0


def _print_spec(bundle: Bundle) -> None:
    spec = bundle.spec
    print(f"{bundle.path}  (format {bundle.raw['format']})")
    language = f", language {spec.language}" if spec.language else ""
    print(f"model        {spec.architecture}, head {spec.head}{language}")
    print(
        f"input        {spec.sample_rate} Hz mono, at least {spec.min_samples} samples, "
        f"{'normalised inside the graph' if spec.normalize else 'not normalised'}, {spec.norm} norm"
    )
    for output in spec.outputs:
        print(f"output       {output.name} [{', '.join(output.axes)}]: {output.meaning}")
    if any("frames" in output.axes for output in spec.outputs):
        print(f"frames       one every {1000 * spec.stride / spec.sample_rate:g} ms")
    if spec.labels:
        shown = " ".join(spec.labels[:40]) + (" …" if len(spec.labels) > 40 else "")
        print(f"labels       {len(spec.labels)} ({spec.tokenizer}): {shown}")
    if spec.blank is not None:
        print(f"blank        {spec.labels[spec.blank]!r}, delimiter {spec.delimiter!r}")


def _print_variants(bundle: Bundle) -> None:
    rows = [
        (
            variant.name,
            _tables.size(variant.bytes),
            " ".join(variant.graphs),
            ", ".join(variant.preferred_by) or "–",
            *_figures(variant.metrics),
        )
        for variant in bundle.variants
    ]
    headings = ("name", "size", "stages", "preferred by", "WER % (95 %)", "rise", "tokens %", "time of fp32")
    measured = any(variant.metrics for variant in bundle.variants)
    print("\nvariants")
    print(_tables.table(headings, rows) if measured else _tables.table(headings[:4], [row[:4] for row in rows]))
    for variant in bundle.variants:
        if variant.metrics:
            verdict = variant.metrics.get("verdict", "measured")
            floats = ", ".join(map(str, variant.metrics.get("kept_float") or ())) or "nothing"
            print(f"  {variant.name}: {verdict}; left in float: {floats}")
    print("\nfiles        " + ", ".join(f"{n} {_tables.size(e['bytes'])}" for n, e in bundle.raw["files"].items()))


def _figures(metrics: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """WER with its interval, its rise, token agreement and the share of fp32's time, where they were measured."""
    wer = _short(metrics.get("wer"))
    if "wer_low" in metrics and "wer_high" in metrics:
        wer += f" ({_short(metrics['wer_low'])}–{_short(metrics['wer_high'])})"
    latency = _short(metrics.get("latency_ratio"))
    if "latency_engine" in metrics:
        latency += f" on {metrics['latency_engine']}"
    return wer, _short(metrics.get("wer_rise")), _short(metrics.get("token_agreement")), latency


def _print_provenance(provenance: Mapping[str, Any]) -> None:
    if "checkpoint" in provenance:
        print(f"\nfrom         {provenance['checkpoint']}, {provenance.get('parameters', 0) / 1e6:.1f} M parameters")
        print(f"weights      sha256 {str(provenance.get('weights_sha256', ''))[:16]}…")
    if "created" in provenance:
        tools = ", ".join(f"{name} {version}" for name, version in provenance.get("tools", {}).items())
        print(f"made         {provenance['created']} with {tools}")
    if isinstance(provenance.get("wer"), dict):
        print("WER          " + ", ".join(f"{corpus} {value} %" for corpus, value in provenance["wer"].items()))
    points = provenance.get("parity", {}).get("points", [])
    if points:
        rows = [
            (str(p["name"]), f"{p['difference']:.1e}", f"{p['limit']:.1e}", "ok" if p["passed"] else "MISMATCH")
            for p in points
        ]
        print("\nparity with torch on each clip alone")
        print(_tables.table(("point", "max|Δ|", "allowed", ""), rows))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "–"
