"""`cnn tune`."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnn.cli import commands, write
from cnn.cli.screen import Screen, counted, figure
from cnn.cli.source import Reading
from cnn.table import TableModel
from cnn.table.frames import TableError
from cnn.tuning import SearchResult, tables

_SHOWN = 10  # settings
_WIDTH = 79  # of lines, where they can be broken
_PICTURES = (".png", ".svg", ".pdf")


def tune(
    screen: Screen, reading: Reading, target: Sequence[str], budget: int, given: dict[str, Any], seed: int, out: str,
    study: str | None, picture: str | None, threads: int | None,
) -> None:  # fmt: skip
    """`cnn tune`."""
    TableModel(list(target), **given, seed=seed)  # errors before the table is read
    for place, option in ((out, "--out"), (study, "--study"), (picture, "--picture")):
        if place is not None:
            write.check_place(place, option)
            if place == "-":
                raise TableError(f"{option} must be a file")
            if reading.path != "-" and os.path.exists(place) and os.path.samefile(place, reading.path):
                raise TableError(f"{option} {place}: that is the table itself")
    if picture is not None and Path(picture).suffix.lower() not in _PICTURES:
        raise TableError(f"--picture must end in {', '.join(_PICTURES)}, got {picture!r}")
    table = commands.table_of(reading, target, set(target) if reading.decimal != "," else None)
    rows = len(table)
    best, found = tables.tune(
        table, list(target), budget=budget, given=given, seed=seed, storage=study, say=screen.note, n_threads=threads
    )  # fmt: skip
    tried = found.results["state"]
    title = f"{counted(len(tried), 'setting')}, {tried.count('complete')} of them trained to the end; those first"
    head = [found.metric, "epochs", "hidden", "activation", "dropout", "rate", "decay", "batch"]
    screen.table(title, head, [_line(found, i) for i in found.order()[:_SHOWN]])
    model = TableModel(list(target), **{**given, **best}, seed=seed)
    tables_to_learn = [table]
    del table
    commands.fit(screen, model, tables_to_learn, threads)
    model.save(out)
    written = [out]
    if picture is not None:
        found.plot(picture)
        written.append(picture)
    settings = ", ".join(f"{name} {_text(value)}" for name, value in best.items())
    screen.say(*textwrap.wrap(f"settings: {settings}", _WIDTH, subsequent_indent="  "),
               "the held-out rows chose these settings: their scores are a little too good")  # fmt: skip
    commands.closing(screen, model, rows, written, settings=best, tried=found.results)


def _line(found: SearchResult, i: int) -> list[str]:
    """The i-th setting that was tried."""
    of = {name: values[i] for name, values in found.results.items()}
    score = "-" if of[found.metric] is None else figure(of[found.metric])
    numbers = [f"{of[name]:.2g}" for name in ("dropout", "learning_rate", "weight_decay")]
    hidden = f"{of['depth']} x {of['units']}"
    return [score, str(of["epochs"]), hidden, of["activation"], *numbers, str(of["batch_size"])]


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return figure(value) if isinstance(value, float) else str(value)
