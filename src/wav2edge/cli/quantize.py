"""``wav2edge quantize BUNDLE``: make smaller and faster variants (INT8, FP16, INT4) that stay as accurate."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wav2edge.runtime import remedies
from wav2edge.runtime.errors import EngineError

from . import _foreign, _options, _quantize_output, _terminal
from ._command import argument, command, gathered, listed, option
from ._progress import Progress
from ._values import COUNT, SECONDS, Number, OneOf, Suggested

if TYPE_CHECKING:
    from wav2edge.calibration.ranges import Method
    from wav2edge.runtime.bundle.read import Bundle

_NEEDED = ("onnx", "onnxruntime", "jiwer")
_SPEECH = "Speech"
_GATE = "What a variant must keep"
_HOW = "How it is made"


def _variants() -> tuple[str, ...]:
    from wav2edge.calibration.build import DEFAULT

    return DEFAULT


@dataclass(frozen=True)
class SpeechOptions:
    """What is calibrated and judged on."""

    speech: str
    dev: str | None
    limit: int
    dev_limit: int
    longest: float


@dataclass(frozen=True)
class Gate:
    """What a variant must keep."""

    max_wer_rise: float
    min_token_agreement: float
    min_cosine: float
    force: bool


@dataclass(frozen=True)
class QuantizeOptions:
    """How variants are made."""

    variant: tuple[str, ...]
    method: Method
    keep_float: tuple[str, ...]
    no_smooth: bool
    no_search: bool
    compress: bool
    local_attention: float | None
    threads: int | None


@command(
    "wav2edge quantize my-bundle --speech calibration.jsonl --dev dev.jsonl",
    "wav2edge quantize my-bundle --variant int8-u8s8,fp16 --limit 100  # on the clips inside the package",
    "wav2edge quantize my-bundle --compress --speech calibration.jsonl --dev dev.jsonl  # less computing",
    "wav2edge quantize my-bundle --list-layers  # the names that --keep-float takes",
)
@argument("bundle", "bundle to add variants to", metavar="BUNDLE", type=_options.BUNDLE)
@gathered(
    SpeechOptions,
    "speech",
    option(
        "--speech",
        "recordings to calibrate on: JSON Lines, .tsv or .csv with path, or a folder of audio (default: the clips "
        "inside the package)",
        group=_SPEECH,
        metavar="MANIFEST",
        type=_options.FILE,
        default="built-in",
    ),
    option(
        "--dev",
        "recordings with path and text to judge on; for other heads label, values, rttm, speaker, or a list of pairs "
        "(default: every second recording of --speech, or pair of them)",
        group=_SPEECH,
        metavar="MANIFEST",
        type=_options.FILE,
    ),
    option(
        "--limit",
        "calibrate on at most N recordings, evenly spread, not counting those that judge (default: 100)",
        group=_SPEECH,
        metavar="N",
        type=COUNT,
        default=100,
    ),
    option(
        "--dev-limit",
        "judge on at most N recordings, evenly spread, those of a pair together (default: 200)",
        group=_SPEECH,
        metavar="N",
        type=COUNT,
        default=200,
    ),
    option(
        "--longest",
        "longest clip to calibrate for, in seconds (default: 10)",
        group=_SPEECH,
        metavar="S",
        type=SECONDS,
        default=10.0,
    ),
)
@gathered(
    Gate,
    "gate",
    option(
        "--max-wer-rise",
        "points that the word error rate may rise, such as from 10.0 to 10.5 % (default: 0.5)",
        group=_GATE,
        metavar="POINTS",
        type=Number(float, 0, 100, "points"),
        default=0.5,
    ),
    option(
        "--min-token-agreement",
        "percentage of frames that must keep the label that fp32 gives them (default: 98)",
        group=_GATE,
        metavar="PERCENT",
        type=Number(float, 0, 100, "percent"),
        default=98.0,
    ),
    option(
        "--min-cosine",
        "mean cosine that embeddings must have to those of fp32, and concordance that numbers must have (default: "
        "0.99)",
        group=_GATE,
        metavar="C",
        type=Number(float, 0, 1, "a number"),
        default=0.99,
    ),
    option(
        "--force",
        "keep a variant that loses more; it is marked, and used only when it is named",
        group=_GATE,
        is_flag=True,
    ),
)
@gathered(
    QuantizeOptions,
    "how",
    listed(
        "--variant",
        "which variants to make (default: int8-u8s8,int8-s8s8,int8-u7s8,int8-dynamic,fp16)",
        group=_HOW,
        metavar="V[,V]",
        type=Suggested(_variants),
        old=("--variants",),
    ),
    option(
        "--method",
        "how the ranges of activations are found (default: mse)",
        group=_HOW,
        type=OneOf(lambda: ("min-max", "entropy", "percentile", "mse")),
        default="mse",
    ),
    option(
        "--keep-float",
        "leave these modules in float: a module path or regular expression, such as "
        "'feature_extractor.conv_layers.[1-3]'; may be repeated",
        group=_HOW,
        metavar="PATH",
        multiple=True,
    ),
    option("--no-smooth", "do not fold outliers of activations into weights", group=_HOW, is_flag=True),
    option(
        "--no-search",
        "judge the variant as it is: do not measure sensitivities or put layers back in float",
        group=_HOW,
        is_flag=True,
    ),
    option(
        "--compress",
        "first remove layers, heads and inner units that the words do not need; the variants are named "
        "int8-u8s8-compressed and so on",
        group=_HOW,
        is_flag=True,
    ),
    option(
        "--local-attention",
        "let each frame attend to at least so many seconds on either side, not to the whole window; the variants are "
        "named int8-u8s8-local and so on",
        group=_HOW,
        metavar="SECONDS",
        type=Number(float, 0, 3600, "seconds"),
        default=None,
    ),
    option("--threads", _options.THREADS_HELP, group=_HOW, metavar="N", type=_options.THREADS),
)
@_options.json_file("print the result of each variant as JSON instead")
@_options.report(
    "where the page goes (index.html), with quantize.json (default: BUNDLE.quantization beside the bundle)"
)
@option("--list-layers", "print the layers that --keep-float can name, and stop", is_flag=True)
def run(
    bundle: str,
    speech: SpeechOptions,
    gate: Gate,
    how: QuantizeOptions,
    json: str | None,
    report: str | None,
    list_layers: bool,
) -> int:
    """Make smaller and faster variants (INT8, FP16, INT4) of a bundle's model that stay as accurate.

    A variant is the same model with smaller numbers. Each is calibrated on speech and then compared with fp32, the
    model as it was exported, on other speech: how far the word error rate rises (for other heads: how far accuracy,
    equal error rate, diarization error rate or concordance get worse), how many frames keep their label or how close
    embeddings are, how much faster it is. Where it loses too much, its most sensitive layers are put back in float; if
    that does not help either, it is refused. Where one loses too much, one that --variant names is refused, or every
    one is, the bundle stays as it was and the exit code is 1.

    With --compress, parts of the model are removed first, as many as cost half of what a variant may lose. Where none
    can be removed, the bundle stays as it was and the exit code is 1.

    With --local-attention, long windows cost in proportion to their length: judge such variants on speech as long as
    what they will transcribe.
    """
    _check(list_layers)
    from wav2edge.calibration.gate import Budget
    from wav2edge.calibration.quantize import Options, quantize
    from wav2edge.runtime.bundle.read import Bundle

    opened = Bundle.open(bundle)
    if list_layers:
        return _list_layers(opened)
    options = Options(
        variants=how.variant or None,
        method=how.method,
        budget=Budget(gate.max_wer_rise, gate.min_token_agreement, gate.min_cosine),
        keep_float=how.keep_float,
        smooth=not how.no_smooth,
        searching=not how.no_search,
        compress=how.compress,
        local_attention=how.local_attention,
        force=gate.force,
        longest=speech.longest,
        limit=speech.limit,
        dev_limit=speech.dev_limit,
        threads=_options.threads_or_default(how.threads),
    )
    place = _quantize_output.page_of(opened, report)
    _options.check_folder(json)
    for read in (("--speech", speech.speech), ("--dev", speech.dev)):
        _options.check_distinct(read, ("--json", json), *_quantize_output.written(place))
    each = _quantize_output.show if json != "-" else lambda outcome: None
    with Progress() as progress, _foreign.without_lines(_foreign.MP3_DECODER):
        made = quantize(opened, speech.speech, speech.dev, options, progress.update, each, _terminal.note)
    _terminal.write_json(made.record, json)
    _quantize_output.write(made, place, json)
    if made.refused is not None:
        _terminal.note(f"{opened.path} is as it was; {made.refused}")
        return 1
    _options.note_lost_signature(opened)
    return 0


def _check(list_layers: bool) -> None:
    """Raise EngineError for packages that are missing, before anything is opened."""
    needed = _NEEDED[:1] if list_layers else _NEEDED
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineError(
            f"quantize needs {', '.join(missing)}; install it with `{remedies.install('calibrate', 'eval')}`"
        )


def _list_layers(bundle: Bundle) -> int:
    from wav2edge.calibration.sites import find_sites
    from wav2edge.graphs.graph import Graph

    for site in find_sites(Graph.load(bundle.graph(bundle.variant("fp32"), "full"))):
        _terminal.out(site.path)
    return 0
