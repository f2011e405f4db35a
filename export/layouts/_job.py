"""What a layout works with: a bundle's graphs, the variants to write, the labels as text, and its README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...graphs import interface, storage
from ...graphs.graph import Graph
from ...runtime.bundle.read import Bundle, Variant
from ...runtime.bundle.spec import OUTPUT_LENGTHS, ModelSpec
from ...runtime.errors import InputError
from ...runtime.heads import ctc

if TYPE_CHECKING:
    from onnx import ModelProto

ONE_FILE = 1_900_000_000
"""Bytes up to which a graph is one file with its weights; protobuf reads at most 2 GiB."""
_INTEGERS = ("int8", "int4")


@dataclass
class Job:
    """One bundle to be written in a layout."""

    bundle: Bundle
    asked: tuple[Variant, ...]
    """The variants that were named; empty where the layout chooses."""
    argument: str
    """The text after the colon of the layout's name."""
    name: str
    """The folder's name as its user will see it."""
    used: list[Variant] = field(default_factory=list)
    """The variants that were written, in that order."""

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""
        return self.bundle.spec

    def chosen(self, *precisions: str) -> dict[str, Variant]:
        """The variants to write by precision, of those that the client can run, fp32 first.

        Where none was named: fp32 and the best of each other precision that is there. Raises InputError for a variant
        of a precision that the client cannot run, and for two of one precision.
        """
        found: dict[str, Variant] = {}
        for variant in self.asked or self.bundle.ranked("onnxruntime"):
            if not self.asked and (variant.forced or variant.precision in found or _mixed(variant)):
                continue
            if variant.precision not in precisions:
                if self.asked:
                    raise InputError(f"variant {variant.name}: this client runs {', '.join(precisions)}")
                continue
            if variant.precision in found:
                raise InputError(
                    f"variants {found[variant.precision].name} and {variant.name} would have one file name; pack one"
                )
            found[variant.precision] = variant
        if not found:
            raise InputError(f"{self.bundle.path}: it has no variant that this client runs ({', '.join(precisions)})")
        return {precision: found[precision] for precision in precisions if precision in found}

    def graph(self, variant: Variant) -> Graph:
        """A variant's whole graph, its files checked; the variant is added to ``used``."""
        if _mixed(variant):
            raise InputError(f"variant {variant.name}: no client computes the rest in bfloat16; name int8-s8s8")
        self.bundle.verify(variant, "full")
        graph = Graph.load(self.bundle.graph(variant, "full"))
        if variant not in self.used:
            self.used.append(variant)
        return graph

    def client_graph(self, variant: Variant) -> Graph:
        """A graph for clients that know nothing of the model's spec: a transcribing one where the head is CTC.

        Clips that are too short for a frame are padded with zeros.
        """
        if self.spec.head == "ctc":
            return self.transcribing_graph(variant)
        graph = self.graph(variant)
        interface.pad_to_minimum(graph, self.spec.min_samples)
        interface.lengths_at_least(graph, self.spec.min_samples)
        return graph

    def transcribing_graph(self, variant: Variant) -> Graph:
        """A graph whose best labels, frame by frame, give wav2edge's text to a client without the model's spec.

        There are no labels after a clip's end and no silent ones, and there is a delimiter in a pause between two
        words. Clips that are too short for a frame have no label.
        """
        graph, spec = self.graph(variant), self.spec
        assert spec.blank is not None
        output, labels, options = spec.outputs[0].name, len(spec.labels), spec.options(ctc.Options)
        silent = [index for index, label in enumerate(spec.labels) if label in options.silent]
        interface.silent_as_blank(graph, output, spec.blank, [n for n in silent if n != spec.blank], labels)
        interface.only_blank_after_end(graph, output, spec.blank, labels)
        if spec.delimiter in spec.labels:
            gap = ctc.frames_of(ctc.WORD_GAP, spec)
            interface.delimiter_in_pauses(graph, output, spec.blank, spec.labels.index(spec.delimiter), labels, gap)
        interface.pad_to_minimum(graph, spec.min_samples)
        return graph

    def save(self, graph: Graph, path: Path, *, data: str | None = None, compact: bool = True) -> bool:
        """Write a graph as one file with its weights; a larger one with its weights in the file ``data`` beside it.

        compact: store weights that fp16 holds exactly in half the bytes. Returns whether there is a data file. Raises
        InputError for a large one where ``data`` is None: the client reads one file only.
        """
        model: ModelProto = graph.to_model()
        if compact:
            storage.halve_weights(model)
        size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
        if size <= ONE_FILE:
            storage.save_graph(model, path)
            return False
        if data is None:
            raise InputError(
                f"{self.bundle.path}: {size / 1e9:.1f} GB of weights, and this client reads one file of up to 2 GB; "
                "pack a smaller variant"
            )
        storage.save_model(model, path, data)
        return True

    def need(self, client: str, *heads: str, rate: int | None = 16000) -> None:
        """Raise InputError for a head that the client does not run, and for a rate that it does not take."""
        if self.spec.head not in heads:
            known = " and ".join(head.replace("_", " ") for head in heads)
            raise InputError(
                f"{self.bundle.path}: its head is {self.spec.head.replace('_', ' ')}; {client} runs {known} models"
            )
        if rate is not None and self.spec.sample_rate != rate:
            raise InputError(f"{self.bundle.path}: it takes {self.spec.sample_rate} Hz; {client} feeds {rate} Hz")

    def need_lengths(self, client: str) -> None:
        """Raise InputError for a graph that takes one clip at a time, cut to its length: padding needs a mask."""
        if self.spec.max_batch is not None:
            raise InputError(
                f"{self.bundle.path}: its graph takes one clip at a time and has no mask, and {client} pads clips; "
                "export it from its checkpoint instead of an ONNX file"
            )

    def symbols(self, client: str, delimiter: str, blank: str | None = None, *, pieces: bool = True) -> tuple[str, ...]:
        """The labels as a client that joins them should write them, by index.

        delimiter: its symbol for a space. blank: its name of the blank. pieces: whether it joins pieces of words.
        Raises InputError where it would write other words.
        """
        spec = self.spec
        spaced = spec.delimiter is not None or spec.tokenizer == "piece"
        if spec.tokenizer == "phoneme" and not spaced:
            raise InputError(f"{self.bundle.path}: phonemes without a delimiter; {client} would join them to one word")
        if spec.tokenizer == "piece" and not pieces:
            raise InputError(f"{self.bundle.path}: its labels are pieces of words, which {client} does not join")
        texts = []
        lowercase = spec.options(ctc.Options).lowercase
        for index, label in enumerate(spec.labels):
            text = label.lower() if lowercase else label
            if index == spec.blank and blank is not None:
                text = blank
            elif label == spec.delimiter:
                text = delimiter
            texts.append(text)
        bad = sorted({text for text in texts if not text or any(c.isspace() for c in text)})
        if bad:
            raise InputError(f"{self.bundle.path}: the label {bad[0]!r} cannot be written in {client}'s vocabulary")
        twice = sorted({text for text in texts if texts.count(text) > 1}) if len(set(texts)) < len(texts) else []
        if twice:
            raise InputError(f"{self.bundle.path}: {client} cannot tell two labels apart that are written {twice[0]!r}")
        return tuple(texts)

    def end_of(self, graph: Graph) -> None:
        """Remove the output with the lengths, for a client that expects one output."""
        if any(value.name == OUTPUT_LENGTHS for value in graph.model.graph.output):
            interface.drop_output(graph, OUTPUT_LENGTHS)


@dataclass(frozen=True)
class Readme:
    """The content of the packed folder's README."""

    language: str
    """Of the lines: ``python``, ``js`` or ``sh``."""
    run: Sequence[str]
    """The lines that run it, from the folder above."""
    install: str = ""
    """The line that installs the client."""
    notes: Sequence[str] = ()
    """What differs from wav2edge in this tool, and why."""
    variants: Mapping[str, str] = field(default_factory=dict)
    """Files of variants, by the variant's name."""

    def text(self, client: str, job: Job) -> str:
        """The page."""
        parts = [f"# {job.name}", "", f"A model packed by wav2edge for {client}."]
        if self.install:
            parts += ["", "```sh", self.install, "```"]
        parts += ["", f"```{self.language}", *self.run, "```"]
        if self.variants:
            parts += ["", "| variant | file |", "|---|---|"]
            parts += [f"| {name} | `{file}` |" for name, file in self.variants.items()]
        if self.notes:
            parts += ["", *(f"* {note}" for note in self.notes)]
        return "\n".join(parts) + "\n"


def _mixed(variant: Variant) -> bool:
    """Whether its graph is that of INT8, and only wav2edge's engine computes the rest in bfloat16."""
    return variant.precision == "int8" and variant.bfloat16
