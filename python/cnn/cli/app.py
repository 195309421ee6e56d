"""The commands and their options; what they do is in commands.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cnn import __version__
from cnn.cli import commands, memory
from cnn.cli.screen import Screen

# Typer folds a help text; lines after \b stay as they are.
app = typer.Typer(
    name="cnn", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Train networks on tables, and predict with them.\n\n\b\nExamples:\n  cnn train houses.csv --target price\n"
         "  cnn predict model.cnn new.csv -o prices.csv\n  cnn demo",
)  # fmt: skip

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model file, as `cnn train` writes it.")]
Data = Annotated[
    str, typer.Argument(metavar="TABLE", help=".csv, .tsv, .parquet, .feather, .npz, each also .gz; - is stdin.")
]
Format = Annotated[str | None, typer.Option("--format", help="csv, tsv, parquet, feather or npz, if not by the name.")]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Of a CSV file: utf-8 (default), latin-1, ...")]
Separator = Annotated[str | None, typer.Option("--separator", help="Of a CSV file, if not told by its header.")]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Same results for every number.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of all that is random.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cnn {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
def train(
    data: Data,
    target: Annotated[str, typer.Option("--target", "-t", help="The column to predict.")],
    out: Annotated[str, typer.Option("--out", "-o", help="The model file to write.")] = "model.cnn",
    report: Annotated[str | None, typer.Option("--report", help="Folder or .html for a page about it.")] = None,
    task: Annotated[str, typer.Option("--task", help="auto, regression or classification.")] = "auto",
    valid: Annotated[float, typer.Option("--valid", help="Share of the rows held out.")] = 0.1,
    hidden: Annotated[str, typer.Option("--hidden", help="Widths of the layers.")] = "128,64",
    activation: Annotated[str, typer.Option("--activation", help="Of the hidden layers.")] = "relu",
    dropout: Annotated[float, typer.Option("--dropout", help="Share of units left out.")] = 0.1,
    rate: Annotated[float, typer.Option("--learning-rate", help="Its highest value.")] = 0.01,
    epochs: Annotated[int | None, typer.Option("--epochs", help="At most; by the rows if not given.")] = None,
    patience: Annotated[int, typer.Option("--patience", help="Epochs without getting better.")] = 15,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="By the rows if not given.")] = None,
    members: Annotated[int | None, typer.Option("--members", help="Networks to average; by the rows.")] = None,
    seed: Seed = 0,
    threads: Threads = None,
    format: Format = None,
    encoding: Encoding = None,
    separator: Separator = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on a table.

    The kind of each column and of the target is found out; some rows are held out to stop in time.

    \b
    Examples:
      cnn train houses.csv --target price
      cnn train adult.csv.gz -t income --report report/ --out adult.cnn
      cnn train data.parquet -t y --hidden 256,128 --epochs 100 --json
      zcat big.csv.gz | cnn train - -t y
    """
    options = {
        "task": task, "valid": valid, "hidden": hidden, "activation": activation, "dropout": dropout,
        "learning_rate": rate, "epochs": epochs, "patience": patience, "batch_size": batch_size, "members": members,
        "seed": seed,
    }  # fmt: skip
    reading = (data, format, encoding, separator)
    _run(commands.train, Screen(quiet, json), reading, target, options, out, report, threads)


@app.command()
def predict(
    model: Model,
    data: Data,
    out: Annotated[str, typer.Option("--out", "-o", help=".csv, .tsv, .parquet (.gz); - is stdout.")] = "-",
    only: Annotated[bool, typer.Option("--only-predictions", help="Leave the table's own columns out.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Add one column for each class.")] = False,
    threads: Threads = None,
    format: Format = None,
    encoding: Encoding = None,
    separator: Separator = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict the target for the rows of a table.

    The table's columns are written again, and the prediction after them. Files are read in pieces: they may be larger
    than the memory. Text that a spreadsheet would run as a formula gets an apostrophe before it.

    \b
    Examples:
      cnn predict model.cnn new.csv -o predicted.csv
      cnn predict adult.cnn people.csv --probabilities --only-predictions
      cat new.csv | cnn predict model.cnn - > predicted.csv
    """
    reading = (data, format, encoding, separator)
    _run(commands.predict, Screen(quiet, json), model, reading, out, only, probabilities, threads)


@app.command()
def evaluate(
    model: Model,
    data: Data,
    importance: Annotated[bool, typer.Option("--importance", help="Also which columns matter (slower).")] = False,
    threads: Threads = None,
    format: Format = None,
    encoding: Encoding = None,
    separator: Separator = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on a table with a target.

    \b
    Examples:
      cnn evaluate model.cnn test.csv
      cnn evaluate model.cnn test.csv --importance --json
    """
    reading = (data, format, encoding, separator)
    _run(commands.evaluate, Screen(quiet, json), model, reading, importance, threads)


@app.command()
def inspect(model: Model, json: Json = False, quiet: Quiet = False) -> None:
    """Show what a model file holds.

    \b
    Example:
      cnn inspect model.cnn
    """
    _run(commands.inspect, Screen(quiet, json), model)


@app.command()
def export(
    model: Model,
    onnx: Annotated[str | None, typer.Option("--onnx", help="The ONNX file to write.")] = None,
    c: Annotated[str | None, typer.Option("--c", help="The folder for C99 source and header.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a model for use elsewhere.

    \b
    Examples:
      cnn export model.cnn --onnx model.onnx
      cnn export model.cnn --c source/
    """
    _run(commands.export, Screen(quiet, json), model, onnx, c)


@app.command()
def bench(
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, max=60, help="For each network.")] = 0.5,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how fast this machine trains networks of some sizes.

    \b
    Example:
      cnn bench --threads 2
    """
    from cnn.cli import bench

    _run(bench.bench, Screen(quiet, json), seconds, threads)


@app.command()
def demo(
    out: Annotated[str, typer.Option("--out", "-o", help="The folder for model, predictions and page.")] = "out",
    epochs: Annotated[int | None, typer.Option("--epochs", help="At most.")] = None,
    seed: Seed = 0,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on house prices in California, a table that comes with the package.

    \b
    Example:
      cnn demo --out out/
    """
    _run(commands.demo, Screen(quiet, json), out, epochs, seed, threads)


def _run(command: Callable[..., Any], screen: Screen, *arguments: Any) -> None:
    """Runs a command; what the user can mend is told in one line, with exit code 2."""
    try:
        if sys.stdout is None:
            raise ValueError("standard output is closed")
        command(screen, *arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("cnn: interrupted; nothing was written", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of our output has gone; nobody is to be told
        _give_up_output()
        raise SystemExit(141) from None
    except (ValueError, TypeError, OSError, ImportError, MemoryError, FloatingPointError) as error:
        print(f"cnn: {_one_line(error)}", file=sys.stderr)
        _give_up_output()
        raise SystemExit(2) from None


def _give_up_output() -> None:
    """Python would try again, when it ends, to write what can't be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:  # a file that was opened has its name in the error
        text = f"{error.filename or 'standard input or output'}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def run() -> None:
    """The command line; errors of its options in one line, too."""
    memory.give_back_at_once()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(prog_name="cnn", standalone_mode=False)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if not hasattr(error, "format_message"):
            if type(error).__name__ == "Abort":
                sys.exit(130)
            raise
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            print(context.get_help() if context is not None else error.format_message(), file=sys.stderr)
            sys.exit(2)
        if not (text := _one_line(ValueError(error.format_message()))):
            sys.exit(2)  # of older versions, which have shown the help
        name = context.command_path if context is not None else "cnn"
        print(f"cnn: {text} (see {name} --help)", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
    sys.exit(code if isinstance(code, int) else 0)
