"""Fills the pages' marks ``<!-- generated: NAME -->`` from the code, when the site is built: a hook of mkdocs."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import _picture
import click

from wav2edge import cli
from wav2edge.devices import profile
from wav2edge.export import families, layouts
from wav2edge.runtime import engines
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.live import events

ROOT = Path(__file__).parent.parent
_MARK = re.compile(r"<!-- generated: (.+?) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """What mkdocs calls for every page."""
    return _MARK.sub(lambda mark: GENERATORS[mark[1]](), markdown)


def commands_page() -> str:
    """Every command: what it does, examples, arguments, options by group."""
    context = click.Context(cli.root, info_name="wav2edge")
    return "\n\n".join(
        _command(name, command, click.Context(command, parent=context, info_name=name))
        for name in cli.root.list_commands(context)
        if (command := cli.root.get_command(context, name)) is not None
    )


def engines_table() -> str:
    """The engines, with what the first line of each module says."""
    rows = []
    for name in engines.names():
        module = engines.get(name)
        rows.append((f"`{name}`", module.PURPOSE, _first_line(module.__doc__)))
    return _table(("engine", "purpose", "what it is"), sorted(rows, key=lambda row: (row[1] != "inference", row)))


def profiles_table() -> str:
    """The boards, with their order of engines and variants."""
    rows = []
    for name in profile.names():
        found = profile.load(name)
        order = dict.fromkeys(f"{item.engine} {item.variant}" for item in found.order)
        rows.append((f"`{name}`", found.title, ", ".join(order)))
    return _table(("profile", "board", "engine and variant, best first"), rows)


def families_table() -> str:
    """The architectures that can be exported, with their heads."""
    rows = [
        (row.classes, f"`{row.name}`", row.frontend, ", ".join(head.name.replace("_", " ") for head in row.heads))
        for row in families.FAMILIES
    ]
    return _table(("architecture", "`model_type` in config.json", "takes", "heads"), rows)


def heads_table() -> str:
    """The heads: a file of runtime/heads/ each."""
    paths = sorted((ROOT / "runtime" / "heads").glob("[a-z]*.py"))
    return _table(
        ("head", "what it is"),
        [
            (f"`{path.stem}`", _first_line(import_module(f"wav2edge.runtime.heads.{path.stem}").__doc__))
            for path in paths
        ],
    )


def events_tables() -> str:
    """Every event with its fields, from the published schema."""
    schema: Mapping[str, Any] = events.schema()
    order = [str(one["$ref"]).rpartition("/")[2] for one in schema["oneOf"]]
    return "\n\n".join(_event(name, schema["$defs"][name]) for name in (*order, "word"))


def bundle_json() -> str:
    """The embedded bundle's bundle.json, long lists shortened."""
    raw = json.loads((embedded.bundle_path() / "bundle.json").read_text("utf-8"))
    raw["variants"] = raw["variants"][:1]
    return f"```json\n{json.dumps(_shortened(raw), indent=1, ensure_ascii=False)}\n```"


def gpu_figures() -> str:
    """What the GPU suite has written, if it ever ran."""
    pages = sorted((ROOT / "docs" / "figures").glob("gpu-*.md"))
    return "\n\n".join(page.read_text("utf-8") for page in pages) or "No run of the suite is in this repository yet."


def measured(name: str) -> str:
    """A figure as a benchmark wrote it, if it was measured."""
    path = ROOT / "docs" / "figures" / name
    return path.read_text("utf-8") if path.is_file() else "Not measured yet."


def layouts_table() -> str:
    """The layouts of other tools, with what the first line of each module says."""
    rows = []
    for name in layouts.names():
        module = layouts.layout(name)
        rows.append((f"`{name}{module.ARGUMENT}`", module.CLIENT, _first_line(module.__doc__)))
    return _table(("`--for`", "for", "what is written"), rows)


def clients_table() -> str:
    """What benchmarks/clients.py has written: clips whose words differ, by client and variant."""
    found = _figure("clients.json")
    if found is None:
        return "Not measured yet."
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for result in found["results"]:
        key = (result["model"], result["client"], result["variant"])
        off = f"{1000 * result['seconds_off']:.0f} ms" if result["words_timed"] else "no times"
        rows.setdefault(key, {"times": off})[result["way"]] = f"{result['different']} of {result['clips']}"
    header = ("model", "client", "variant", "other words, clips alone", "clips in batches", "words start off by")
    ways = ("one by one", "in batches", "times")
    table = _table(header, [(*key, *(row.get(way, "–") for way in ways)) for key, row in rows.items()])
    return f"{_measured(found)}\n\n{table}\n\n{EXCEPTIONS}"


def arm_words() -> str:
    """What the tests of ARM boards have written: the share of words that are those of x86-64."""
    found = _figure("arm-words.json")
    if found is None:
        return "Not measured yet."
    keys = ("board", "cpu", "engine", "variant", "how", "words")
    rows = [(*(str(row[key]) for key in keys), f"{100 * row['equal']:.1f} %") for row in found["rows"]]
    header = ("system", "processor", "engine", "variant", "command", "words", f"equal to {found['machine']}'s")
    sizes = ", ".join(f"{name} {size:.0f} MB" for name, size in found.get("archives", {}).items())
    packed = f"\n\nArchives with wheels: {sizes}." if sizes else ""
    return f"*Measured on {found['date']} by* `{found['command']}`.\n\n{_table(header, rows)}{packed}"


def triton_ragged() -> str:
    """What benchmarks/triton_ragged.py has written."""
    found = _figure("triton-ragged.json")
    if found is None:
        return "Not measured yet."
    rows = [
        (row["way"], f"{row['seconds']:.2f} s", f"{row['of_padded']:.2f}", f"{row['sent_mb']:.0f} MB")
        for row in found["ways"]
    ]
    table = _table(("way", "time", "of padding on the client", "sent to the server"), rows)
    words = (
        f"{found['same']} of {found['requests']} clips of one batch had the words of their own run "
        f"(largest difference of a score: {found['largest_difference']:.1e})."
        + (f" The batch took {found['memory_gb']:.1f} GB of memory." if "memory_gb" in found else "")
    )
    return f"{_measured(found)}\n\n{words}\n\n{table}"


EXCEPTIONS = """\
sherpa-onnx normalises each clip in its own arithmetic (always: it reads no setting for it), whose last digits differ
from the graph's, and runs its own release of ONNX Runtime. FP32 gives the same words all the same; an INT8 graph may
round an activation to the next step, which changes labels of which the model is unsure. The row of wav2edge on the
same clips, a little softer, shows that the last digits are the cause: its graph normalises, so only they change with
the loudness. On CPUs `wav2edge transcribe` runs the convolutions in pieces, which also changes the rounding of INT8:
here INT8 is compared with the whole graph in one run.

int8-s8s8 of fixed length runs without ONNX Runtime's MatMulAddFusion and SkipLayerNormFusion, as its README says: they
make one operator of two where shapes are fixed, and change the rounding.

`group-norm` is the checkpoint of the tests (tests/data/group_norm, 0.1 M parameters, about a word for each clip)."""
"""Why the rows of the table that differ do."""


def _figure(name: str) -> dict[str, Any] | None:
    path = ROOT / "docs" / "figures" / name
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def _measured(found: Mapping[str, Any]) -> str:
    return f"*Measured on {found['date']} on {found['machine']}, by* `{found['command']}`."


def _command(name: str, command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"## `{name}`", f"```text\n{usage}\n```", _paragraphs(command.help or "")]
    if examples := getattr(command, "examples", ()):
        parts.append("```sh\n" + "\n".join(examples) + "\n```")
    arguments = [
        (f"`{parameter.make_metavar(context)}`", _cell(getattr(parameter, "description", "")))
        for parameter in command.params
        if isinstance(parameter, click.Argument)
    ]
    if arguments:
        parts.append(_table(("argument", ""), arguments))
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None and "--help" not in parameter.opts:
            groups.setdefault(getattr(parameter, "group", "Options"), []).append((f"`{record[0]}`", _cell(record[1])))
    for group in sorted(groups, key=lambda group: group.startswith("Other")):
        parts.append(_table((group, ""), groups[group]))
    return "\n\n".join(parts)


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.replace("\b", "").split("\n\n"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _event(name: str, schema: Mapping[str, Any]) -> str:
    title = f"## `{name}`" if name != "word" else "## A word"
    rows = [(f"`{key}`", _type(value), value.get("description", "")) for key, value in schema["properties"].items()]
    header = ("field", "type", "meaning") if any(row[2] for row in rows) else ("field", "type")
    table = _table(header, [row[: len(header)] for row in rows])
    return f"{title}\n\n{schema.get('description', '')}\n\n{table}"


def _type(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"always `{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    bounds = [f"≥ {schema['minimum']}"] if "minimum" in schema else []
    bounds += [f"≤ {schema['maximum']}"] if "maximum" in schema else []
    return " ".join([str(schema.get("type", "any")), ", ".join(bounds)]).strip()


def _shortened(value: Any, longest: int = 4) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        cut = [_shortened(item) for item in value[:longest]]
        return [*cut, "…"] if len(value) > longest else cut
    return f"{value[:8]}…" if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n\n")[0].replace("\n", " ").replace("|", "\\|").replace("``", "`")


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


GENERATORS: Mapping[str, Callable[[], str]] = {
    "commands": commands_page,
    "engines": engines_table,
    "profiles": profiles_table,
    "families": families_table,
    "heads": heads_table,
    "events": events_tables,
    "bundle.json": bundle_json,
    "gpu figures": gpu_figures,
    "layouts": layouts_table,
    "clients": clients_table,
    "arm words": arm_words,
    "triton ragged": triton_ragged,
    "architecture": _picture.svg,
    "growth": functools.partial(measured, "growth.md"),
    "memory": functools.partial(measured, "memory.md"),
}
"""What fills which mark."""
