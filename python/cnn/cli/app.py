"""The commands and their options; what they do is in commands.py."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cnn import __version__
from cnn.activations import NAMES as ACTIVATIONS
from cnn.cli import commands, memory, tuning
from cnn.cli import explain as explanations
from cnn.cli import predict as predictions
from cnn.cli.options import (
    MODEL,
    OUTPUT,
    TRAINING,
    WORK,
    ClassWeight,
    Command,
    Data,
    Decimal,
    Encoding,
    Format,
    Header,
    Json,
    Loss,
    Model,
    Quiet,
    Seed,
    Separator,
    Stream,
    Target,
    Task,
    Threads,
    Weight,
)
from cnn.cli.options import option as _option
from cnn.cli.running import CLOSED_PIPE, complain
from cnn.cli.running import run as _run
from cnn.cli.screen import Screen
from cnn.cli.shown import one_line
from cnn.cli.source import Reading
from cnn.table.settings import BUDGETS, SCALES

# Typer folds a help text; lines after \b stay as they are.
app = typer.Typer(
    name="cnn", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Train networks on tables, and predict with them.\n\n\b\nExamples:\n  cnn train houses.csv --target price\n"
         "  cnn predict model.cnn new.csv -o prices.csv\n  cnn demo",
)  # fmt: skip


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cnn {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command(cls=Command)
def train(
    data: Data,
    target: Target = [],  # noqa: B006 (Typer's way to say that there may be none)
    out: Annotated[str, _option(OUTPUT, "--out", "-o", help="The model file to write.")] = "model.cnn",
    report: Annotated[str | None, _option(OUTPUT, "--report", help="Folder or .html for a page about it.")] = None,
    task: Task = "auto",
    loss: Loss = None,
    weight: Weight = None,
    class_weight: ClassWeight = None,
    valid: Annotated[float, _option(TRAINING, "--valid", help="Share of the rows held out.")] = 0.1,
    hidden: Annotated[str | None, _option(MODEL, "--hidden", help="Widths, as 128,64; by the task.")] = None,
    activation: Annotated[str, _option(MODEL, "--activation", help="Of hidden layers.", words=ACTIVATIONS)] = "mish",
    dropout: Annotated[float | None, _option(MODEL, "--dropout", help="Share of units left out; by the task.")] = None,
    scale: Annotated[str, _option(MODEL, "--target-scale", help="auto, linear, log", words=SCALES)] = "auto",
    effort: Annotated[str, _option(TRAINING, "--effort", help="fast, default, best", words=tuple(BUDGETS))] = "default",
    max_seconds: Annotated[float | None, _option(TRAINING, "--max-seconds", help="The longest time.")] = None,
    rate: Annotated[float | None, _option(TRAINING, "--learning-rate", help="Its highest value; by the task.")] = None,
    epochs: Annotated[int | None, _option(TRAINING, "--epochs", help="By task and rows if not given.")] = None,
    patience: Annotated[int | None, _option(TRAINING, "--patience", help="Epochs without getting better.")] = None,
    batch_size: Annotated[int | None, _option(TRAINING, "--batch-size", help="By the rows if not given.")] = None,
    members: Annotated[int | None, _option(MODEL, "--members", help="Networks to average; by the rows.")] = None,
    seed: Seed = 0,
    threads: Threads = None,
    stream: Stream = None,
    skip_broken: Annotated[bool, _option(WORK, "--skip-broken", help="Leave broken pictures out.")] = False,
    mpi: Annotated[bool, _option(WORK, "--mpi", help="As one of the processes that mpiexec runs.")] = False,
    format: Format = None,
    encoding: Encoding = None,
    separator: Separator = None,
    header: Header = None,
    decimal: Decimal = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on a table, or on a folder of pictures.

    The kind of each column and of the target is found out; some rows are held out to stop in time. A file that needs
    more memory than is free, or with --stream, is read in pieces; a folder of Parquet files is one table. A folder
    without a target holds a folder of pictures for each class.

    \b
    Examples:
      cnn train houses.csv --target price
      cnn train adult.csv.gz -t income --report report/ --out adult.cnn
      cnn train houses.csv -t price -t rent
      cnn train data.parquet -t y --hidden 256,128 --epochs 100 --json
      cnn train claims.csv -t count --loss poisson --weight years
      cnn train churn.csv -t left --class-weight yes=5,no=1
      cnn train rows/ -t y --stream
      mpiexec -n 4 cnn train data.parquet -t y --threads 1 --mpi
      zcat big.csv.gz | cnn train - -t y
      cnn train pictures/ --effort fast
    """
    options = {
        "task": task, "valid": valid, "hidden": hidden, "activation": activation, "dropout": dropout,
        "learning_rate": rate, "epochs": epochs, "patience": patience, "batch_size": batch_size, "members": members,
        "loss": loss, "class_weight": class_weight, "effort": effort, "max_seconds": max_seconds,
        "target_scale": scale, "seed": seed,
    }  # fmt: skip
    reading = Reading(data, format, encoding, separator, header, decimal)
    others = {"--weight": weight, "--report": report, "--stream": stream, "--mpi": mpi}
    _run(commands.train, Screen(quiet, json), reading, target, options, others, out, skip_broken, threads)


@app.command(cls=Command)
def tune(
    data: Data,
    target: Target,
    budget: Annotated[int, _option(TRAINING, "--budget", "-n", min=3, help="Settings to try.")] = 30,
    out: Annotated[str, _option(OUTPUT, "--out", "-o", help="The model file to write.")] = "model.cnn",
    study: Annotated[str | None, _option(WORK, "--study", help="A file of what was tried; goes on with it.")] = None,
    picture: Annotated[str | None, _option(OUTPUT, "--picture", help="A .png, .svg or .pdf of the search.")] = None,
    task: Task = "auto",
    valid: Annotated[float, _option(TRAINING, "--valid", help="Share of the rows held out.")] = 0.1,
    epochs: Annotated[int | None, _option(TRAINING, "--epochs", help="At most; by the rows if not given.")] = None,
    seed: Seed = 0,
    threads: Threads = None,
    format: Format = None,
    encoding: Encoding = None,
    separator: Separator = None,
    header: Header = None,
    decimal: Decimal = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find good settings for a table, and train a model with them.

    Layers, dropout, learning rate, weight decay and rows in a step are chosen by the score on rows that are held out;
    settings that do worse are given up early.

    \b
    Examples:
      cnn tune houses.csv --target price
      cnn tune adult.csv.gz -t income --budget 60 --study adult.log --picture search.png
    """
    reading = Reading(data, format, encoding, separator, header, decimal)
    options = {"task": task, "valid": valid, "epochs": epochs, "decimal": decimal}
    _run(tuning.tune, Screen(quiet, json), reading, target, budget, options, seed, out, study, picture, threads)


@app.command(cls=Command)
def predict(
    model: Model,
    data: Data,
    out: Annotated[str, _option(OUTPUT, "--out", "-o", help=".csv, .tsv, .parquet (.gz); - is stdout.")] = "-",
    only: Annotated[bool, _option(OUTPUT, "--only-predictions", help="Leave the table's own columns out.")] = False,
    probabilities: Annotated[bool, _option(OUTPUT, "--probabilities", help="Add one column for each class.")] = False,
    interval: Annotated[
        float | None, _option(OUTPUT, "--interval", help="Add lower and upper ends that hold such a share, as 0.9.")
    ] = None,
    threads: Threads = None,
    format: Format = None,
    encoding: Encoding = None,
    separator: Separator = None,
    header: Header = None,
    decimal: Decimal = None,
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
      cnn predict model.cnn new.csv --interval 0.9
      cnn predict model.cnn pictures/ -o labels.csv
      cat new.csv | cnn predict model.cnn - > predicted.csv
    """
    reading = Reading(data, format, encoding, separator, header, decimal)
    _run(predictions.predict, Screen(quiet, json), model, reading, out, only, probabilities, interval, threads)


@app.command(cls=Command)
def explain(
    model: Model,
    data: Data,
    background: Annotated[
        str | None, _option(WORK, "--background", "-b", help="A table of rows to compare with.")
    ] = None,
    samples: Annotated[int, _option(WORK, "--samples", min=1, help="Of its rows, with places between.")] = 200,
    seed: Annotated[int, _option(WORK, "--seed", min=0, help="Of the samples.")] = 0,
    chosen: Annotated[str | None, _option(WORK, "--class", help="The class (output) to explain.")] = None,
    raw: Annotated[bool, _option(WORK, "--raw", help="Log-odds instead of probabilities.")] = False,
    out: Annotated[
        str | None, _option(OUTPUT, "--out", "-o", help=".csv, .tsv, .json, .parquet (.gz); - is stdout.")
    ] = None,
    only: Annotated[bool, _option(OUTPUT, "--only-shares", help="Leave the table's own columns out.")] = False,
    picture: Annotated[str | None, _option(OUTPUT, "--picture", help="A .png, .svg or .pdf of the shares.")] = None,
    threads: Threads = None,
    format: Format = None,
    encoding: Encoding = None,
    separator: Separator = None,
    header: Header = None,
    decimal: Decimal = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what each column adds to the predictions for the rows of a table.

    The shares of a row's columns add up to its prediction less that for a row with nothing in it (integrated
    gradients), or, with --background, less the mean prediction for those rows (expected gradients). Of several classes
    that one is explained which is predicted; of two the second.

    \b
    Examples:
      cnn explain model.cnn new.csv
      cnn explain model.cnn new.csv --background train.csv -o shares.csv --picture shares.png
      cnn explain adult.cnn people.csv --class '>50K' --only-shares -o shares.json
    """
    reading = Reading(data, format, encoding, separator, header, decimal)
    how = explanations.How(background, samples, seed, chosen, raw, threads)
    _run(explanations.explain, Screen(quiet, json), model, reading, how, out, only, picture)


@app.command(cls=Command)
def evaluate(
    model: Model,
    data: Data,
    importance: Annotated[bool, _option(OUTPUT, "--importance", help="Also which columns matter (slower).")] = False,
    threads: Threads = None,
    stream: Stream = None,
    format: Format = None,
    encoding: Encoding = None,
    separator: Separator = None,
    header: Header = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on a table with a target.

    A file that needs more memory than is free, or with --stream, is read in pieces; a folder of Parquet files is one
    table.

    \b
    Examples:
      cnn evaluate model.cnn test.csv
      cnn evaluate model.cnn test.csv --importance --json
      cnn evaluate model.cnn pictures/
    """
    reading = Reading(data, format, encoding, separator, header)
    _run(commands.evaluate, Screen(quiet, json), model, reading, importance, threads, stream)


@app.command(cls=Command)
def inspect(model: Model, json: Json = False, quiet: Quiet = False) -> None:
    """Show what a model file holds.

    \b
    Example:
      cnn inspect model.cnn
    """
    _run(commands.inspect, Screen(quiet, json), model)


@app.command(cls=Command)
def export(
    model: Model,
    onnx: Annotated[str | None, _option(OUTPUT, "--onnx", help="The ONNX file to write.")] = None,
    c: Annotated[str | None, _option(OUTPUT, "--c", help="The folder for C99 source and header.")] = None,
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


@app.command(cls=Command)
def bench(
    seconds: Annotated[float, _option(WORK, "--seconds", min=0.01, max=60, help="For each network.")] = 0.5,
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


@app.command(cls=Command)
def demo(
    out: Annotated[str, _option(OUTPUT, "--out", "-o", help="The folder for model, predictions and page.")] = "out",
    epochs: Annotated[int | None, _option(TRAINING, "--epochs", help="At most.")] = None,
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


def run() -> None:
    """The command line; errors of its options in one line, too."""
    memory.give_back_at_once()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    output = sys.stdout
    try:
        code = app(prog_name="cnn", standalone_mode=False)
    except KeyboardInterrupt:
        code = 130
    except SystemExit as stopped:
        if sys.stdout is not output:  # what Typer leaves there, with code 1, when the reader of a help text has gone
            sys.exit(CLOSED_PIPE)
        code = stopped.code
    except Exception as error:
        code = _of_options(error)
    sys.exit(code if isinstance(code, int) else 0)


def _of_options(error: Exception) -> int:
    """Tells what is wrong with the options; the exit code."""
    if not hasattr(error, "format_message"):
        if type(error).__name__ == "Abort":
            return 130
        raise error
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        complain(context.get_help() if context is not None else error.format_message())
        return 2
    if text := one_line(ValueError(error.format_message())):  # older versions have shown the help
        name = context.command_path if context is not None else "cnn"
        complain(f"cnn: {text} (see {name} --help)")
    return int(getattr(error, "exit_code", 2))
