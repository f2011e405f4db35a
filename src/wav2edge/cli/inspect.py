"""``wav2edge inspect BUNDLE``: show what a bundle holds and what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wav2edge.measure import tables

from . import _options, _terminal
from ._command import command, option

if TYPE_CHECKING:
    from wav2edge.runtime.bundle.documents import MetricsJson, ProvenanceJson
    from wav2edge.runtime.bundle.read import Bundle


@command("wav2edge inspect my-bundle", "wav2edge inspect my-bundle --verify --json")
@_options.bundle_argument("bundle to show")
@_options.json_file("print the bundle's bundle.json instead")
@option("--verify", "check the SHA-256 of every file as well", is_flag=True)
def run(bundle: str | None, model: str | None, json: str | None, verify: bool) -> None:
    """Show what a bundle holds and what was measured.

    The model and its labels, the variants with sizes, word error rates and speed, the checkpoint it was made from and
    how much its outputs differ from the checkpoint's.
    """
    opened = _options.open_bundle(_options.which(bundle, model))
    if verify:
        for variant in opened.variants:
            opened.verify(variant)
        for name in opened.files:
            opened.file(name)
    _terminal.write_json(opened.document, json)
    if json == "-":
        return
    _print_spec(opened)
    _print_variants(opened)
    _print_provenance(opened.provenance)
    if verify:
        _terminal.out("\nall files match their SHA-256")


def _print_spec(bundle: Bundle) -> None:
    spec = bundle.spec
    _terminal.out(f"{bundle.path}  (format {bundle.document['format']})")
    language = f", language {spec.language}" if spec.language else ""
    _terminal.out(f"model        {spec.architecture}, head {spec.head}{language}")
    _terminal.out(
        f"input        {spec.sample_rate} Hz mono, at least {spec.min_samples} samples, "
        f"{'normalised inside the graph' if spec.normalize else 'not normalised'}, {spec.norm} norm"
    )
    if spec.trained_seconds is not None:
        _terminal.out(f"trained on   clips of up to {spec.trained_seconds:g} s")
    if spec.max_batch is not None:
        _terminal.out("batches      one clip at a time: its graph has no mask")
    for output in spec.outputs:
        _terminal.out(f"output       {output.name} [{', '.join(output.axes)}]: {output.meaning}")
    if any("frames" in output.axes for output in spec.outputs):
        _terminal.out(f"frames       one every {1000 * spec.stride / spec.sample_rate:g} ms")
    if spec.labels:
        shown = " ".join(spec.labels[:40]) + (" …" if len(spec.labels) > 40 else "")
        _terminal.out(f"labels       {len(spec.labels)} ({spec.tokenizer}): {shown}")
    if spec.blank is not None:
        _terminal.out(f"blank        {spec.labels[spec.blank]!r}, delimiter {spec.delimiter!r}")


def _print_variants(bundle: Bundle) -> None:
    rows = [
        (
            variant.name,
            tables.size(variant.bytes),
            " ".join(variant.graphs),
            ", ".join(variant.preferred_by) or "–",
            *_figures(variant.metrics),
        )
        for variant in bundle.variants
    ]
    headings = ("name", "size", "stages", "preferred by", *_headings(bundle), "time of fp32")
    measured = any(variant.metrics for variant in bundle.variants)
    _terminal.out("\nvariants")
    _terminal.out(tables.table(headings, rows) if measured else tables.table(headings[:4], [row[:4] for row in rows]))
    for variant in bundle.variants:
        if variant.metrics:
            verdict = variant.metrics.get("verdict", "measured")
            floats = ", ".join(variant.metrics.get("kept_float", ())) or "nothing"
            _terminal.out(f"  {variant.name}: {verdict}; left in float: {floats}")
    _terminal.out("\nfiles        " + ", ".join(f"{n} {tables.size(e['bytes'])}" for n, e in bundle.files.items()))


def _headings(bundle: Bundle) -> tuple[str, str, str]:
    """The headings of the head's figure, its change against fp32 and the likeness to fp32."""
    from wav2edge.measure.tasks import task_of
    from wav2edge.runtime.errors import InputError

    try:
        task = task_of(bundle.spec)
    except InputError:  # no figures for it
        return "figure", "change", "tokens %"
    unit = " %" if task.figure.percent else ""
    change = "rise" if task.figure.better == "lower" else "change"
    alike = {"labels": "tokens %", "cosine": "cosine", "concordance": "concordance"}[task.likeness]
    return f"{task.figure.short}{unit} (95 %)", change, alike


def _figures(metrics: MetricsJson) -> tuple[str, str, str, str]:
    """The head's figure with its interval, its change, the likeness and the share of fp32's time, where measured."""
    kept = metrics.get("figure")
    if kept is None:  # only the word error rate was kept
        value, low, high, change = (metrics.get(name) for name in ("wer", "wer_low", "wer_high", "wer_rise"))
    else:
        value, low, high, change = kept["value"], kept["low"], kept["high"], kept["change"]
    figure = _short(value)
    if low is not None and high is not None:
        figure += f" ({_short(low)}–{_short(high)})"
    latency = _short(metrics.get("latency_ratio"))
    if "latency_engine" in metrics:
        latency += f" on {metrics['latency_engine']}"
    alike = metrics.get("token_agreement", metrics.get("cosine", metrics.get("concordance")))
    return figure, _short(change), _short(alike), latency


def _print_provenance(provenance: ProvenanceJson) -> None:
    if "checkpoint" in provenance:
        _terminal.out(
            f"\nfrom         {provenance['checkpoint']}, {provenance.get('parameters', 0) / 1e6:.1f} M parameters"
        )
        _terminal.out(f"weights      sha256 {str(provenance.get('weights_sha256', ''))[:16]}…")
    if "created" in provenance:
        tools = ", ".join(f"{name} {version}" for name, version in provenance.get("tools", {}).items())
        _terminal.out(f"made         {provenance['created']} with {tools}")
    if "wer" in provenance:
        _terminal.out("WER          " + ", ".join(f"{corpus} {value} %" for corpus, value in provenance["wer"].items()))
    points = provenance["parity"]["points"] if "parity" in provenance else []
    reference = provenance["parity"].get("reference", "torch") if "parity" in provenance else ""
    if points:
        rows = [
            (p["name"], f"{p['difference']:.1e}", f"{p['limit']:.1e}", "ok" if p["passed"] else "MISMATCH")
            for p in points
        ]
        _terminal.out(f"\nparity with {reference} on each clip alone")
        _terminal.out(tables.table(("point", "max|Δ|", "allowed", ""), rows))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "–"
