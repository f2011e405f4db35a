"""How a command is declared: ``@command(examples…)`` over a function named ``run``, with options in named groups.

    @command("wav2edge inspect -m my-bundle")
    @argument("bundle", "bundle to show")
    @option("--verify", "check the SHA-256 of every file as well", is_flag=True)
    def run(bundle: str | None, verify: bool) -> None:
        '''Show what a bundle holds.'''

The docstring is the help; the examples follow it, and a test parses each. The line in the list of commands is the first
line of the file, which is read without importing it. An option may have ``old`` names, which work and are not shown.
Lists are written in the same way everywhere: the option repeated, or values with commas.
"""

from __future__ import annotations

import functools
import inspect
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, TypedDict, TypeVar, cast

import click

from ._values import Listed

if TYPE_CHECKING:
    from typing_extensions import Unpack

Function = TypeVar("Function", bound=Callable[..., object])
Kind = TypeVar("Kind")
_OTHER = "Other options"
WIDTH = 100  # columns of help and tables


class Attributes(TypedDict, total=False):
    """The attributes of an argument that go to click, see ``click.Parameter``."""

    type: click.ParamType[object]
    metavar: str
    required: bool
    default: object
    nargs: int


class OptionAttributes(Attributes, total=False):
    """The attributes of an option that go to click, see ``click.Option``, and those that ``Option`` adds."""

    is_flag: bool
    flag_value: object
    multiple: bool
    hidden: bool
    old: Sequence[str]
    endings: tuple[str, ...]


class ClickAttributes(Attributes, total=False):
    """The attributes that click's decorators give to an ``Option``."""

    help: str
    is_flag: bool
    flag_value: object
    multiple: bool
    hidden: bool
    callback: Callable[[click.Context, click.Parameter, object], object]


class CommandAttributes(TypedDict):
    """The attributes that ``command`` gives to a ``Command``."""

    callback: Callable[..., object]
    params: list[click.Parameter]
    help: str
    short_help: str


class Option(click.Option):
    """An option that belongs to a group of its command's help, and may have old names."""

    def __init__(
        self,
        names: Sequence[str],
        group: str = _OTHER,
        old: Sequence[str] = (),
        endings: tuple[str, ...] = (),
        **attributes: Unpack[ClickAttributes],
    ) -> None:
        """``group``: the heading in the help. ``old``: names that are understood and not shown.

        ``endings``: where the value may be left out, the word that follows is the value only if it ends so.
        """
        super().__init__(list(names), **attributes)
        self.group = group
        self.old = tuple(old)
        self.endings = endings


class Argument(click.Argument):
    """A positional argument with a line of help."""

    def __init__(self, names: Sequence[str], description: str, **attributes: Unpack[Attributes]) -> None:
        """``description``: the line of help."""
        super().__init__(list(names), **attributes)
        self.description = description


class Command(click.Command):
    """A command whose help has examples and option groups."""

    def __init__(self, name: str, examples: Sequence[str] = (), **attributes: Unpack[CommandAttributes]) -> None:
        """``examples``: command lines, each with ``  # what it does`` where the line alone does not say it."""
        super().__init__(name, context_settings=CONTEXT, **attributes)
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words after the command's name, after replacing old names and a bare ``--json``."""
        return super().parse_args(ctx, list(_modern(args, self.params)))

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return ``--help``, described as the other options are."""
        return described(super().get_help_option(ctx))

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the docstring, then the examples."""
        super().format_help_text(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in _aligned(self.examples):
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the arguments, then the options group by group in the order of their first option."""
        arguments = [(a.make_metavar(ctx), a.description) for a in self.params if isinstance(a, Argument)]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", _OTHER), []).append(record)
        for name in sorted(groups, key=lambda name: name == _OTHER):
            with formatter.section(name):
                formatter.write_dl(groups[name])


def described(help_option: click.Option | None) -> click.Option | None:
    """Click's own option ``--help``, with a line in the style of the others."""
    if help_option is not None:
        help_option.help = "show this help and stop"
    return help_option


CONTEXT: dict[str, object] = {"help_option_names": ["-h", "--help"], "max_content_width": WIDTH}


def command(*examples: str) -> Callable[[Callable[..., object]], Command]:
    """Make a command of a function; its name is that of its file, its help the docstring."""

    def decorate(function: Callable[..., object]) -> Command:
        name = function.__module__.rpartition(".")[2].replace("_", "-")
        text = inspect.getdoc(function) or ""
        parameters = list(reversed(getattr(function, "__click_params__", [])))
        short = line_of_help(sys.modules[function.__module__].__doc__ or "")
        return Command(name, callback=function, params=parameters, help=text, short_help=short, examples=examples)

    return decorate


def option(
    *names_and_help: str, group: str = _OTHER, **attributes: Unpack[OptionAttributes]
) -> Callable[[Function], Function]:
    """Declare an option: its names, then its help."""
    *names, text = names_and_help
    return click.option(*names, cls=Option, help=text, group=group, **attributes)


def listed(
    *names_and_help: str, group: str = _OTHER, **attributes: Unpack[OptionAttributes]
) -> Callable[[Function], Function]:
    """Declare an option that takes a list: repeated, or with commas; the function gets a tuple."""
    attributes["type"] = Listed(attributes.get("type", click.STRING))
    attributes["multiple"] = True
    *names, text = names_and_help
    return click.option(*names, cls=Option, help=text, group=group, callback=_flat, **attributes)


def single(
    *names_and_help: str, group: str = _OTHER, **attributes: Unpack[OptionAttributes]
) -> Callable[[Function], Function]:
    """Declare an option that takes one value here and a list elsewhere."""
    *names, text = names_and_help
    return click.option(*names, cls=Option, help=text, group=group, callback=_one, **attributes)


def argument(name: str, description: str, **attributes: Unpack[Attributes]) -> Callable[[Function], Function]:
    """Declare a positional argument."""
    return click.argument(name, cls=Argument, description=description, **attributes)


def gathered(
    kind: type[Kind], name: str, *options: Callable[[Callable[..., object]], object]
) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Declare options whose values reach the function as one dataclass ``kind``, under ``name``."""
    make = cast("Callable[..., Kind]", kind)

    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def call(**values: object) -> object:
            own = {field.name: values.pop(field.name) for field in fields(kind)}  # type: ignore[arg-type]
            return function(**{name: make(**own)}, **values)

        for declared in reversed(options):
            declared(call)
        return call

    return decorate


def line_of_help(docstring: str) -> str:
    """What a command does, from the first line of its file: the text after the double backquotes and colon."""
    text = docstring.partition("\n")[0].partition("``: ")[2].strip('". \n')
    return text[:1].upper() + text[1:]


def as_options(message: str, parameters: Iterable[click.Parameter]) -> str:
    """A library's message with the arguments that it names spelled as this command's options.

    ``force=True`` becomes ``--force``, ``language='tur'`` becomes ``--language tur`` and ``max_wer_rise`` becomes
    ``--max-wer-rise``; a word such as ``limit`` alone may be just a word, and stays.
    """
    for parameter in parameters:
        if not isinstance(parameter, click.Option) or not parameter.name:
            continue
        flag = parameter.opts[-1]
        names = "|".join({parameter.name, flag[2:].replace("-", "_")})

        def spelled(found: re.Match[str], parameter: click.Option = parameter, flag: str = flag) -> str:
            value = found["value"].strip("'\"")
            if parameter.is_flag and value == "True":
                return flag
            value = {"True": "yes", "False": "no"}.get(value, value)
            return f"{flag} {shlex.quote(value)}" if value else flag

        message = re.sub(rf"(?<![\w.-])(?:{names})=(?P<value>'[^']*'|\"[^\"]*\"|[\w.:-]*)", spelled, message)
        for name in names.split("|"):
            if "_" in name:
                message = re.sub(rf"(?<![\w./-]){name}(?![\w./=-])", flag, message)
    return message


def _flat(ctx: click.Context, param: click.Parameter, values: tuple[tuple[object, ...], ...]) -> tuple[object, ...]:
    return tuple(dict.fromkeys(item for value in values for item in value))


def _one(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and "," in value:
        raise click.BadParameter(f"{value}: this command runs one; name one of them", ctx, param)
    return value


def _modern(words: Sequence[str], parameters: Sequence[click.Parameter]) -> Iterable[str]:
    """Words with current option names, and ``--json=-`` for a ``--json`` that no file's name follows."""
    options = [parameter for parameter in parameters if isinstance(parameter, Option)]
    today = {old: each.opts[-1] for each in options for old in each.old}
    optional = {each.opts[-1]: each for each in options if each.endings}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            yield from (word, *rest)
            return
        name, equals, value = word.partition("=")
        name = today.get(name, name)
        if (
            name in optional
            and not equals
            and not (rest and (rest[0] == "-" or rest[0].endswith(optional[name].endings)))
        ):
            equals, value = "=", str(optional[name].flag_value)
        yield f"{name}{equals}{value}"


def _aligned(examples: Sequence[str]) -> list[str]:
    """Examples with their comments in one column where all fit, else each comment above its line."""
    split = [example.partition("  # ")[::2] for example in examples]
    width = max(len(line.rstrip()) for line, _ in split)
    if all(width + 4 + len(comment) <= WIDTH - 4 for _, comment in split if comment):
        return [f"{line.rstrip():{width}}  # {comment}" if comment else line for line, comment in split]
    return [text for line, comment in split for text in ((f"# {comment}", line.rstrip()) if comment else (line,))]
