"""Write a variant's files into a staging folder, from the prepared graph and one calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wav2edge.runtime.bundle.read import Bundle, Variant, sha256
from wav2edge.runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, NORM_MEAN, NORM_MEAN_SQUARE, NORMALIZED
from wav2edge.runtime.bundle.write import describe_variant, free_stem
from wav2edge.runtime.errors import BundleError, InputError

from ..graphs.graph import Graph
from ..graphs.split import split_stages
from ..graphs.storage import halve_weights, save_model, shorten_names
from .passes.channels_last import channels_last
from .passes.first_alone import first_alone
from .passes.fuse_gelu import fuse_gelu
from .passes.half import HalfPrecision, to_half
from .passes.head_groups import group_heads
from .passes.least_positions import least_positions
from .passes.qdq import insert_qdq
from .passes.weights_only import quantize_dynamic, quantize_int4
from .ranges import Histogram, Method, Range, choose_range
from .schemes import STATIC, Scheme
from .sites import Site, find_sites

NAMES = (*STATIC, "int8-dynamic", "fp16", "bf16", "int4")
"""Every variant that can be made."""
DEFAULT = ("int8-u8s8", "int8-s8s8", "int8-u7s8", "int8-dynamic", "fp16")
"""The variants that are made where none is named."""
COMPRESSED = "-compressed"
"""What the name of a variant of a compressed model ends on: ``int8-u8s8-compressed``."""
LOCAL = "-local"
"""What the name of a variant with local attention ends on."""
_PREFERRED: Mapping[str, tuple[str, ...]] = {
    "fp16": ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda"),
    "bf16": ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda", "openvino"),
    "int8-dynamic": (),
    "int4": (),
}
_HALF: Mapping[str, HalfPrecision] = {"fp16": "fp16", "bf16": "bf16"}


def planned(name: str) -> Variant:
    """A variant before it is made: its kind and the engines it is for, no files. Raises InputError for another name."""
    if name not in NAMES:
        raise InputError(f"no variant {name!r} can be made; there are {', '.join(NAMES)}")
    precision, _, layout = name.partition("-")
    preferred = STATIC[name].preferred_by if name in STATIC else _PREFERRED[name]
    return Variant(
        name=name,
        precision=precision,
        graphs={},
        sha256={},
        sizes={},
        scheme=layout or None,
        preferred_by=preferred,
        made_from="fp32",
    )


def is_meant_for_speed(name: str) -> bool:
    """Whether the gate judges a variant's time on this machine.

    Not for half precision, which is for other machines than the one it is made on, and int4, which saves memory.
    """
    return planned(name).precision == "int8"


@dataclass(frozen=True)
class VariantBuilder:
    """Builds every variant of a bundle from one calibration."""

    bundle: Bundle
    graph: Graph
    """The prepared fp32 graph, its outliers folded."""
    sites: tuple[Site, ...]
    """The operators that can be quantised."""
    histograms: Mapping[str, Histogram]
    """The values of each observed tensor; empty where no variant needs them."""
    method: Method
    """How a range is found from a histogram."""
    folder: Path
    """Where files are written."""
    suffix: str = ""
    """What the names of variants end on: ``COMPRESSED`` where parts of the model were removed, ``LOCAL`` where
    attention is local."""

    def ranges(self, scheme: Scheme) -> dict[str, Range]:
        """The range of every observed tensor."""
        signed = {
            anchor
            for site in self.sites
            if scheme.quantizes(site.kind)
            for position, anchor in enumerate(site.anchors)
            if not scheme.reads_unsigned(site.kind, position)
        }
        return {
            name: choose_range(seen, self.method, scheme.unsigned and name not in signed)
            for name, seen in self.histograms.items()
        }

    def _ranges_of(self, sites: Iterable[Site], scheme: Scheme) -> dict[str, Range]:
        """The ranges of what sites of a rewritten graph read: the same numbers, of which some have another anchor."""
        found = self.ranges(scheme)
        observed = {site.node: site.anchors for site in self.sites}
        for site in sites:
            for anchor, known in zip(site.anchors, observed[site.node]):
                found.setdefault(anchor, found[known])
        return found

    def never_quantized(self, name: str) -> dict[str, str]:
        """The layers that a variant always leaves in float, and why."""
        if name not in STATIC:
            return {}
        left = {site.layer for site in self._rewritten(self.graph.copy(), STATIC[name])}
        return {site.layer: "one input channel: nothing to gain" for site in self.sites if site.layer not in left}

    def quantizable(self, name: str) -> tuple[Site, ...]:
        """The sites that a variant can compute in fewer bits."""
        if name in STATIC:
            return tuple(site for site in self.sites if STATIC[name].quantizes(site.kind))
        if name in _HALF:
            return self.sites
        return tuple(site for site in self.sites if site.kind == "linear")

    def _rewritten(self, graph: Graph, scheme: Scheme, in_float: Collection[str] = ()) -> tuple[Site, ...]:
        """Rewrite a graph's front end for a scheme, in place, where that is possible; the sites it then has."""
        if scheme.unsigned:
            fuse_gelu(graph)
            first_alone(graph)
            left = {node.name for node in graph.nodes}
            return tuple(site for site in self.sites if site.node in left)
        if not channels_last(graph, in_float):
            return self.sites
        known = {site.node for site in self.sites}
        return tuple(site for site in find_sites(graph) if site.node in known)

    def build(self, name: str, keep_float: frozenset[str], stages: bool = True) -> Variant:
        """Write one variant with these nodes in float; ``stages`` False leaves out frontend and encoder.

        Raises InputError for a variant of no such name.
        """
        plan = planned(name)
        graph = self.graph.copy()
        self._convert(graph, name, keep_float)
        stem = free_stem(self.bundle, f"{name}{self.suffix}")
        data = f"{stem}.data"
        model = graph.to_model()
        halve_weights(model)
        shorten_names(model, (NORMALIZED, FEATURES, FEATURE_LENGTHS, NORM_MEAN, NORM_MEAN_SQUARE))
        save_model(model, self.folder / f"{stem}.onnx", data)
        if (self.folder / data).stat().st_size == 0:
            (self.folder / data).unlink()
        variant = describe_variant(
            self.folder,
            f"{plan.name}{self.suffix}",
            plan.precision,
            {"full": f"{stem}.onnx"},
            scheme=plan.scheme,
            data=(data,) if (self.folder / data).exists() else (),
            preferred_by=plan.preferred_by,
            made_from=plan.made_from,
        )
        return self.with_stages(variant) if stages else variant

    def _convert(self, graph: Graph, name: str, keep_float: frozenset[str]) -> None:
        """Turn a copy of the graph into a variant's, in place."""
        if name in STATIC:
            self._quantize_static(graph, STATIC[name], keep_float)
        elif name in _HALF:
            to_half(graph, _HALF[name], keep_float)
        elif name == "int4":
            quantize_int4(graph, keep_float)
        else:
            group_heads(graph)  # before, because it looks for the products around the heads
            quantize_dynamic(graph, keep_float)
            least_positions(graph)

    def _quantize_static(self, graph: Graph, scheme: Scheme, keep_float: frozenset[str]) -> None:
        sites = self._rewritten(graph, scheme, keep_float)
        kept = [site for site in sites if site.node not in keep_float]
        insert_qdq(graph, kept, self._ranges_of(sites, scheme), scheme)
        least_positions(graph)
        if scheme.unsigned:
            group_heads(graph)

    def with_stages(self, variant: Variant) -> Variant:
        """A variant whose full graph was written last, with frontend and encoder cut from it.

        An imported graph that cannot be cut, in fp32 neither, stays whole.
        """
        full = variant.graphs["full"]
        try:
            graphs = split_stages(self.folder, full, full.removesuffix(".onnx"))
        except BundleError:
            if "encoder" in self.bundle.variant("fp32").graphs:
                raise
            return variant
        cut = tuple(name for name in graphs.values() if name != full)
        return dataclasses.replace(
            variant,
            graphs=graphs,
            sha256={**variant.sha256, **{name: sha256(self.folder / name) for name in cut}},
            sizes={**variant.sizes, **{name: (self.folder / name).stat().st_size for name in cut}},
        )
