"""What the commands' options are made of, and those that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from cnn.cli.source import FORMATS
from cnn.cli.training import LOSSES
from cnn.table.target import TASKS

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model file, as `cnn train` writes it.")]
Data = Annotated[
    str, typer.Argument(metavar="TABLE", help=".csv, .tsv, .parquet, .feather, .npz, also as .gz, .bz2; - is stdin.")
]


def _of(*names: str) -> Callable[[str], list[str]]:
    """Completes one of these words."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def option(group: str, *names: str, help: str, words: tuple[str, ...] = (), **how: Any) -> Any:
    """An option under the title of its group; `words` are what a shell may complete."""
    return typer.Option(*names, help=help, rich_help_panel=group, autocompletion=_of(*words) if words else None, **how)


GROUPS = MODEL, TRAINING, TABLE, WORK, OUTPUT = "The model", "The training", "The table", "The work", "What comes out"
Format = Annotated[
    str | None, option(TABLE, "--format", help=f"{', '.join(FORMATS)}, if not by the name.", words=FORMATS)
]
Encoding = Annotated[str | None, option(TABLE, "--encoding", help="Of a CSV file: utf-8 (default), cp1252, ...")]
Separator = Annotated[str | None, option(TABLE, "--separator", help="Of a CSV file, if not told by its header.")]
Header = Annotated[
    bool | None,
    option(TABLE, "--header/--no-header", help="Whether a CSV file's first line has names; else column1, ..."),
]
Decimal = Annotated[
    str | None, option(TABLE, "--decimal", help=". or , in numbers, if not told by them.", words=(".", ","))
]
Json = Annotated[bool, option(OUTPUT, "--json", help="Print the outcome as one JSON object, and nothing else.")]
Quiet = Annotated[bool, option(OUTPUT, "--quiet", "-q", help="Print nothing but errors.")]
Task = Annotated[str, option(MODEL, "--task", help="auto, regression or classification.", words=("auto", *TASKS))]
Loss = Annotated[
    str | None, option(TRAINING, "--loss", help="absolute_error, huber:DELTA, quantile:Q, poisson, ...", words=LOSSES)
]
Target = Annotated[
    list[str], option(MODEL, "--target", "-t", show_default=False, help="The column to predict; again for several.")
]
Weight = Annotated[str | None, option(TRAINING, "--weight", help="The column of the weights of rows.")]
ClassWeight = Annotated[
    str | None, option(TRAINING, "--class-weight", help="balanced, or CLASS=WEIGHT,...", words=("balanced",))
]
Threads = Annotated[int | None, option(WORK, "--threads", min=1, help="Same results for every number.")]
Stream = Annotated[
    bool | None, option(WORK, "--stream/--no-stream", help="Read in pieces: for tables larger than memory.")
]
Seed = Annotated[int, option(TRAINING, "--seed", min=0, help="Of all that is random.")]


class Command(TyperCommand):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in ("Arguments", *GROUPS, "Options")}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                groups[getattr(parameter, "rich_help_panel", None) or kind].append(record)
        for title, records in groups.items():
            if not records:
                continue
            with formatter.section(title):
                formatter.write_dl(records)
