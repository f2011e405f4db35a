"""What a newcomer meets first: help, examples, lists of commands, errors of usage, completion."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from wav2edge import __version__, cli
from wav2edge.cli import _command, main
from wav2edge.cli._command import Argument, Command, Option
from wav2edge.cli._values import OneOf
from wav2edge.runtime.bundle.read import Bundle

CONTEXT = click.Context(cli.root, info_name="wav2edge")
NAMES = cli.root.list_commands(CONTEXT)
FILES = {path.stem.replace("_", "-") for path in Path(cli.__file__).parent.glob("*.py") if path.stem[0] != "_"}
FIRST = ("export", "inspect", "quantize", "evaluate", "bench", "devices", "pack", "build", "selftest", "transcribe")


def command(name: str) -> Command:
    found = cli.root.get_command(CONTEXT, name)
    assert isinstance(found, Command)
    return found


def help_of(name: str) -> str:
    done = CliRunner().invoke(cli.root, [name, "--help"], prog_name="wav2edge")
    assert done.exit_code == 0
    return done.output


def test_every_file_is_a_command_and_they_are_listed_in_the_order_of_their_use() -> None:
    assert set(NAMES) == FILES
    assert [name for name in NAMES if name in FIRST] == list(FIRST)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_bare_and_help_print_every_command_and_exit_0(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == "" and out.startswith("Usage: wav2edge [OPTIONS] COMMAND …")
    assert re.findall(r"^  ([a-z][a-z-]*) +[A-Z]", out, re.MULTILINE) == NAMES


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"wav2edge {__version__}\n"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_with_an_example_that_parses(name: str) -> None:
    found = command(name)
    assert found.short_help and found.short_help[0].isupper() and not found.short_help.endswith(".")
    assert cli._line(name) == found.short_help
    text = " ".join(help_of(name).split())
    assert found.examples
    for example in found.examples:
        line, _, comment = example.partition("  # ")
        assert " ".join(line.split()) in text and comment in text
        ours = next(part for part in re.split(r" [|>]+ ", line) if part.startswith("wav2edge "))
        program, called, *words = shlex.split(ours)
        assert (program, called) == ("wav2edge", name)
        with found.make_context(called, words, parent=CONTEXT):
            pass


@pytest.mark.parametrize("name", NAMES)
def test_every_option_and_argument_has_a_line_of_help(name: str) -> None:
    for parameter in command(name).params:
        if isinstance(parameter, Option) and not parameter.hidden:
            assert parameter.help and not parameter.help.endswith("."), parameter.opts
        elif isinstance(parameter, Argument):
            assert parameter.description


@pytest.mark.parametrize("name", NAMES)
def test_stated_defaults_are_the_defaults(name: str) -> None:
    """What click holds; the library's own are compared in test_stated_defaults_are_the_librarys."""
    for parameter in command(name).params:
        if not isinstance(parameter, Option) or parameter.is_flag or parameter.multiple:
            continue
        stated = re.search(r"\(default: ([\w.-]+)\)$", parameter.help or "")
        default = parameter.get_default(CONTEXT)
        if not isinstance(default, (str, int, float)) or default == "built-in":
            continue
        assert stated, f"{parameter.opts}: {default} is not said"
        assert stated[1] == (f"{default:g}" if isinstance(default, float) else str(default))


def test_stated_defaults_are_the_librarys() -> None:
    from wav2edge.calibration.build import DEFAULT
    from wav2edge.calibration.gate import Budget
    from wav2edge.calibration.options import Options
    from wav2edge.measure.bench import plan, run
    from wav2edge.measure.scoring import DEFAULT_NORMALIZATION
    from wav2edge.runtime.live.settings import LiveSettings
    from wav2edge.runtime.recordings.chunking import Chunking
    from wav2edge.runtime.recordings.segmentation import Segmentation
    from wav2edge.runtime.text.formats import CaptionLayout

    layout, live, options, budget = CaptionLayout(), LiveSettings(), Options(), Budget()
    lengths = ",".join(f"{seconds:g}" for seconds in plan.LENGTHS)
    quick = ",".join(f"{seconds:g}" for seconds in run.QUICK_LENGTHS)
    for name, options_and_words in {
        "transcribe": {
            "--chunk": f"(default: {Chunking().length:g}, or",
            "--context": f"(default: {Chunking().context:g})",
            "--pause": f"(default: {Segmentation().pause:g})",
            "--max-line-width": f"(default: {layout.max_line_width})",
            "--max-line-count": f"(default: {layout.max_line_count})",
        },
        "listen": {
            "--hop": f"(default: {live.hop:g}, or",
            "--left-context": f"(default: {live.kept_context:g} where convolution features are kept between partials, "
            f"else {live.left_context:g}",
            "--silence-after-text": f"(default: {live.endpoint.silence_after_text:g})",
            "--silence-without-text": f"(default: {live.endpoint.silence_without_text:g})",
            "--longest-utterance": f"(default: {live.endpoint.longest_utterance:g})",
            "--speech-threshold": f"(default: {live.vad.threshold:g})",
            "--min-confidence": "(default: off" if live.min_confidence == 0 else "changed",
        },
        "quantize": {
            "--max-wer-rise": f"(default: {budget.max_wer_rise:g})",
            "--min-token-agreement": f"(default: {budget.min_token_agreement:g})",
            "--limit": f"(default: {options.limit})",
            "--dev-limit": f"(default: {options.dev_limit})",
            "--longest": f"(default: {options.longest:g})",
            "--method": f"(default: {options.method})",
            "--variant": f"(default: {','.join(DEFAULT)})",
        },
        "bench": {"--seconds": f"(default: {lengths}; with --quick {quick})", "--baseline": "onnxruntime/fp32"},
        "evaluate": {"--text-norm": f"(default: {DEFAULT_NORMALIZATION})"},
    }.items():
        helps = {
            parameter.opts[-1]: parameter.help for parameter in command(name).params if isinstance(parameter, Option)
        }
        for option, words in options_and_words.items():
            assert words in (helps[option] or ""), (name, option)


@pytest.mark.parametrize(("name", "option"), [("transcribe", "--format"), ("transcribe", "--raw-format")])
def test_the_words_that_the_help_shows_are_the_choices(name: str, option: str) -> None:
    """They are written down so that the help needs no import of numpy."""
    [found] = [each for each in command(name).params if isinstance(each, Option) and option in each.opts]
    assert isinstance(found.type, OneOf)
    assert sorted(found.type.get_metavar(found, CONTEXT).split("|")) == sorted(found.type._words())


def test_threads_has_one_sentence_everywhere() -> None:
    sentences = {
        parameter.help
        for name in NAMES
        for parameter in command(name).params
        if isinstance(parameter, Option) and "--threads" in parameter.opts
    }
    assert len(sentences) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["transcrib"], "there is no command 'transcrib'; did you mean transcribe? (see: wav2edge --help)"),
        (["--verbose"], "there is no option --verbose; did you mean --version? (see: wav2edge --help)"),
        (["transcribe", "a.wav", "--modle", "x"], "did you mean --model? (see: wav2edge transcribe --help)"),
        (["transcribe"], "AUDIO is missing (see: wav2edge transcribe --help)"),
        (["export", "x"], "BUNDLE is missing (see: wav2edge export --help)"),
        (["build", "x"], "--engine is missing (see: wav2edge build --help)"),
        (["transcribe", "a.wav", "-m"], "-m needs a value (see: wav2edge transcribe --help)"),
        (["pack", "--overwrite=yes", "a"], "--overwrite takes no value"),
        (["transcribe", "a.wav", "-f", "doc"], "--format doc: choose from json, jsonl, srt, text, tsv, vtt"),
        (["transcribe", "a.wav", "--threads", "0"], "--threads 0: give a whole number from 1 to 1024"),
        (["transcribe", "a.wav", "--threads", "1000000"], "--threads 1000000: give a whole number from 1 to 1024"),
        (["transcribe", "a.wav", "--threads", "two"], "--threads two: give a whole number from 1 to 1024"),
        (["transcribe", "a.wav", "--chunk", "1e9"], "--chunk 1e9: give seconds above 0, at most 600"),
        (["bench", "--engine", "a,,b"], "--engine a,,b: an empty name between commas"),
        (["transcribe", "a.wav", "--engine", "null,openvino"], "--engine null,openvino: this command runs one"),
        (["bench", "--seconds", "1e9"], "--seconds 1e9: give seconds above 0, at most 3600"),
        (["listen", "--hop", "nan"], "--hop nan: give seconds above 0, at most 3600"),
        (["listen", "--file", "a.wav", "--stdin"], "--file and --stdin: give one source of sound"),
        (["listen", "--rate", "12"], "--rate 12: give a rate in Hz from 1000 to 1000000"),
        (["completion", "tcsh"], "SHELL tcsh: choose from bash, zsh, fish"),
        (["inspect", "a", "-m", "b"], "two bundles, a and b"),
    ],
)
def test_wrong_usage_is_one_line_with_the_remedy(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert err.startswith("wav2edge: ") and says in err


def test_only_the_command_that_is_called_is_imported() -> None:
    script = (
        "import sys; from wav2edge.cli import main; main(sys.argv[1:]);"
        "print(*(m for m in sys.modules if m.startswith('wav2edge.cli.') and '._' not in m), 'numpy' in sys.modules)"
    )
    for words, wanted in (
        (["--help"], "False"),
        (["bench", "--help"], "wav2edge.cli.bench False"),
        (["transcribe", "-h"], "wav2edge.cli.transcribe False"),
    ):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == wanted


def complete(*words: str, shell: str = "bash") -> list[str]:
    """What the shell is offered when Tab is pressed after the words."""
    environment = {
        **os.environ,
        "_WAV2EDGE_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": shlex.join(words),
        "COMP_CWORD": str(len(words) - 1) if shell != "fish" else words[-1],
    }
    done = subprocess.run(
        [sys.executable, "-m", "wav2edge"], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_the_shell_completes_commands_options_and_values(shapes_bundle: Bundle) -> None:
    assert complete("wav2edge", "tr") == ["transcribe"]
    assert complete("wav2edge", "") == NAMES
    assert "--engine" in complete("wav2edge", "transcribe", "--e")
    assert complete("wav2edge", "transcribe", "x", "-f", "j") == ["json", "jsonl"]
    assert complete("wav2edge", "evaluate", "m", "--engine", "onnxruntime,openv") == ["onnxruntime,openvino"]
    assert complete("wav2edge", "transcribe", "-m", str(shapes_bundle.path), "--variant", "f") == ["fp32"]
    assert "raspberry-pi-5" in complete("wav2edge", "pack", "b", "--for", "rasp")
    assert set(complete("wav2edge", "build", "b", "--engine", "tens")) == {"tensorrt", "tensorrt-rtx"}
    assert complete("wav2edge", "completion", "z") == ["zsh"]
    assert complete("wav2edge", "quantize", "b", "--variant", "fp16,int8-d") == ["fp16,int8-dynamic"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed_and_its_shell_reads_it(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_WAV2EDGE_COMPLETE" in script and "wav2edge" in script and "%(" not in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_a_librarys_argument_is_spelled_as_the_option() -> None:
    parameters = [
        *command("quantize").params,
        *(p for p in command("export").params if p.name in ("normalize", "ignore_weights")),
    ]
    for message, spelled in {
        "add force=True to keep it": "add --force to keep it",
        "max_wer_rise 7: too much": "--max-wer-rise 7: too much",
        "keep_float: matches no layer": "--keep-float: matches no layer",
        "give normalize=True": "give --normalize yes",
        "ignore_weights='lm_head.*' goes on": "--ignore-weights 'lm_head.*' goes on",
        "the limit is 3": "the limit is 3",
        "/a/max_wer_rise/keep_float.onnx: damaged": "/a/max_wer_rise/keep_float.onnx: damaged",
    }.items():
        assert _command.as_options(message, parameters) == spelled


def test_a_remedy_is_an_option_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`pack` and `export` said "allow to overwrite it", and `serve` "give a token as well": no option's name."""
    taken = tmp_path / "a.tar"
    taken.touch()
    assert main(["pack", "--for", "generic", str(taken)]) == 2
    assert f"{taken}: already exists; choose another name, or replace it with --overwrite\n" in capsys.readouterr().err
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "give --token as well, or WAV2EDGE_TOKEN" in capsys.readouterr().err
    assert main(["serve", "--key", str(taken)]) == 2
    assert "give --certificate as well" in capsys.readouterr().err


def test_serve_has_no_help_for_classifiers_which_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    """`serve --min-confidence` explained what it means with a classifier."""
    assert main(["serve", "--help"]) == 0
    assert "classifier" not in capsys.readouterr().out
    assert main(["listen", "--help"]) == 0
    assert "with a classifier" in capsys.readouterr().out
