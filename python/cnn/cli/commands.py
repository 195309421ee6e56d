"""What the commands do."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn import loading
from cnn.cli import large, pictures, read, several, training, write
from cnn.cli.predict import rounded
from cnn.cli.screen import Screen, counted, figure
from cnn.cli.source import Reading, Source, source
from cnn.network import Network
from cnn.table import TableModel, frames, scoring
from cnn.table.columns import Number
from cnn.table.frames import TableError
from cnn.table.large import survey
from cnn.table.targets import each_name

_DEMO = "california_housing.csv.bz2"


def train(
    screen: Screen, reading: Reading, target: Sequence[str], options: dict[str, Any], others: dict[str, Any], out: str,
    skip_broken: bool, threads: int | None,
) -> None:  # fmt: skip
    """`cnn train`; `others` are options that only tables have, by name."""
    if pictures.are_meant(reading.path, target):
        pictures.train(screen, reading.path, options, others, out, skip_broken, threads)
        return
    weight, report, stream, mpi = (others[name] for name in ("--weight", "--report", "--stream", "--mpi"))

    def work(comm: Any) -> None:
        shown = screen if comm is None or comm.rank == 0 else Screen(quiet=True)
        _train(shown, reading, target, options, weight, out, report, threads, stream, comm)

    if mpi:
        several.together(reading, work)
    else:
        work(None)


def _train(
    screen: Screen, reading: Reading, target: Sequence[str], options: dict[str, Any], weight: str | None, out: str,
    report: str | None, threads: int | None, stream: bool | None, comm: Any,
) -> None:  # fmt: skip
    model = TableModel(list(target), **training.arguments(options), decimal=reading.decimal)
    write.check_place(out, "--out")
    if out == "-":
        raise TableError("--out must be a file: a model is not text")
    if reading.path != "-" and os.path.exists(out) and os.path.samefile(out, reading.path):
        raise TableError(f"--out {out}: that is the table itself")
    page, known = None if report is None else _page(report), None
    with large.table(reading, stream) as found:
        if isinstance(found, Source):
            tables = [_whole(found, target, set(target) if reading.decimal != "," else None)]
            rows, kept = len(tables[0]), None if page is None else tables[0]
            fit(screen, model, tables, threads, comm=comm, weight=weight)
            shown, known = None if kept is None else kept.iloc[model.held_out], model.out_of_member
        else:
            _has(large.first(found), target, found.name)
            fit(screen, model, [found], threads, stream, comm, weight)
            rows = found.rows
            shown = None if page is None else large.rows_of(found, model.held_out)
    if comm is not None and comm.rank:
        return
    model.save(out)
    written = [out]
    if page is not None:
        from cnn.cli import report as pages

        page.parent.mkdir(parents=True, exist_ok=True)
        pages.write(model, shown, page, Path(reading.path).name, threads, known)
        written.append(str(page))
    closing(screen, model, rows, written)


def table_of(
    reading: Reading, target: Sequence[str], texts: Collection[str] | None, names: Collection[str] | None = None
) -> Any:
    """The whole table (see `read.table`), which must have columns of the target's names."""
    with source(reading) as found:
        return _whole(found, target, texts, names)


def _whole(
    found: Source, target: Sequence[str], texts: Collection[str] | None, names: Collection[str] | None = None
) -> Any:
    table = read.table(found, texts, names)
    _has(table, target, found.name)
    return table


def _has(table: Any, target: Sequence[str], where: str) -> None:
    """TableError for a column of the target that there is not."""
    for name in target:
        frames.column(table, name, where)


def fit(
    screen: Screen, model: TableModel, tables: list[Any], threads: int | None, stream: bool | None = None,
    comm: Any = None, weight: str | None = None,
) -> None:  # fmt: skip
    """Trains on the one table; it is taken from the list, so that it need not be there while the networks train."""
    live = screen.progress()
    try:
        model.fit(
            tables.pop(), sample_weight=weight, callbacks=live, verbose=0, n_threads=threads, stream=stream, comm=comm
        )  # fmt: skip
    finally:
        for callback in live:
            callback.close()  # type: ignore[attr-defined]


def closing(screen: Screen, model: TableModel, rows: int, written: list[str], **more: Any) -> None:
    """What was learnt and written; `more` goes into the JSON object."""
    screen.say(*(f"- {note}" for note in model.notes))
    names = list(model.scores["training"])
    body = [
        [name, *(figure(model.scores[part][name]) if name in model.scores[part] else "-" for part in model.scores)]
        for name in names
    ]  # fmt: skip
    sizes = f"{counted(len(model.networks), 'network')}, {counted(sum(map(len, model.histories)), 'epoch')}"
    screen.table(f"{counted(rows, 'row')}, {sizes}, {model.seconds:.1f} s", ["score", "training", "held out"], body)
    screen.say(f"written: {', '.join(written)}")
    epochs = [len(history) for history in model.histories]
    screen.result({**_about(model), "rows": rows, "epochs": epochs, "written": written, **more})


def _about(model: TableModel) -> dict[str, Any]:
    return {
        "target": model.target, "task": model.task,
        "classes": model.classes.tolist() if model.task == "classification" else None,
        "columns": model.columns, "dropped": model.dropped, "notes": list(model.notes), "scores": model.scores,
        "networks": len(model.networks), "inputs": len(model.encoder.inputs), "seed": model.seed,
        "seconds": round(model.seconds, 3), "cnn": cnn.__version__,
    }  # fmt: skip


def evaluate(
    screen: Screen, path: str, reading: Reading, importance: bool, threads: int | None, stream: bool | None
) -> None:
    """`cnn evaluate`."""
    if pictures.is_model(model := loading.load(path)):
        if importance:
            raise TableError("--importance is for tables")
        pictures.evaluate(screen, model, reading.path, threads)
        return
    model = _table_model(path, model)
    texts = {column.name for column in model.encoder.columns if not isinstance(column, Number) or column.writing}
    target = each_name(model.target)
    texts |= {one.name for one in model.goal.each if one.writing or one.classes}
    with large.table(reading, stream) as found:
        if isinstance(found, Source):
            table = _whole(found, target, texts, {*target, *model.columns})
            scores, rows = model.evaluate(table, n_threads=threads), len(table)
        else:
            _has(large.first(found), target, found.name)
            scores = scoring.of_pieces(model.encoder, model.goal, model.outputs, found, threads)
            rows = found.rows
            table = survey(found, model.target, 0)[0] if importance else None
    body = [[name, figure(value)] for name, value in scores.items()]
    screen.table(f"{', '.join(target)} in {counted(rows, 'row')}", ["score", ""], body)
    result: dict[str, Any] = {"target": model.target, "task": model.task, "rows": rows, "scores": scores}
    if importance:
        found = model.feature_importance(table, n_threads=threads)
        result["importance"] = {str(name): float(value) for name, value in found["importance"].items()}
        measure = "log loss" if model.task == "classification" else "RMSE in deviations" if target[1:] else "RMSE"
        body = [[name, figure(value)] for name, value in result["importance"].items()]
        screen.table("Columns, each shuffled in turn", ["column", f"rise of the {measure}"], body)
    screen.result(result)


def _table_model(path: str, model: Any) -> TableModel:
    if not isinstance(model, TableModel):
        what = "a network" if isinstance(model, Network) else "an estimator"
        raise TableError(
            f"{path} holds {what}, which does not know the column of its target: `cnn evaluate` is for models of "
            "`cnn train`; `cnn predict` takes it"
        )
    return model


def inspect(screen: Screen, path: str) -> None:
    """`cnn inspect`."""
    model = loading.load(path)
    if isinstance(model, Network):
        from cnn.inspect import reports

        screen.say(*reports.summary(model).splitlines())
        screen.result({"kind": "network", "inputs": model.n_inputs, "outputs": model.n_outputs,
                       "layers": [reports.short(layer) for layer in model.descriptions]})  # fmt: skip
        return
    if pictures.is_model(model):
        pictures.inspect(screen, model)
        return
    if not isinstance(model, TableModel):
        _inspect_estimator(screen, model)
        return
    about = _about(model)
    screen.say(*(f"- {note}" for note in model.notes))
    places = model.encoder.places
    body = [[name, kind, str(len(places[name]))] for name, kind in model.columns.items()]
    screen.table("Columns", ["column", "kind", "inputs"], body)
    first = model.networks[0]
    body = [[counted(len(model.networks), "network"), f"{first.n_inputs} - "
             + " - ".join(str(layer.units) for layer in first.descriptions if hasattr(layer, "units"))],
            ["parameters of each", f"{first.plan.size:,}"], ["seed", str(model.seed)],
            ["trained in", f"{model.seconds:.1f} s"]]  # fmt: skip
    body += [[f"{name}, held out", figure(value)] for name, value in model.scores.get("validation", {}).items()]
    screen.table("Model", ["", ""], body)
    screen.result({"kind": "table", **about})


def _inspect_estimator(screen: Screen, model: Any) -> None:
    from cnn.inspect import reports

    defaults = type(model)().get_params(deep=False)
    changed = {name: value for name, value in model.get_params(deep=False).items() if value != defaults[name]}
    classes = model.classes_.tolist() if hasattr(model, "classes_") else None
    members = getattr(model, "estimators_", [model])
    first = members[0].network_
    about = {
        "class": type(model).__name__, "inputs": model.n_features_in_, "outputs": model.n_outputs_, "classes": classes,
        "features": model.feature_names_in_.tolist() if hasattr(model, "feature_names_in_") else None,
        "layers": [reports.short(layer) for layer in first.descriptions],
    }  # fmt: skip
    body = [[name, " ".join(repr(value).split())] for name, value in changed.items()]
    body += [[name, ", ".join(map(str, about[name]))] for name in ("classes", "features") if about[name] is not None]
    if hasattr(model, "estimators_"):
        kind = "ensemble"
        about |= {"networks": len(members), "epochs": [est.n_iter_ for est in members], "oom_score": model.oom_score_}
        body += [["networks", str(len(members))], ["epochs of each", ", ".join(map(str, about["epochs"]))],
                 ["out-of-member score", figure(model.oom_score_)]]  # fmt: skip
    else:
        kind = "estimator"
        about |= {"epochs": model.n_iter_, "loss": getattr(model, "loss_", None)}
        body += [["epochs of the last fit", str(model.n_iter_)]]
        body += [["loss of the last epoch", figure(model.loss_)]] if hasattr(model, "loss_") else []
    screen.say(*reports.summary(first).splitlines())
    screen.table(about["class"], ["", ""], body)
    screen.result({"kind": kind, **about, "parameters": {name: repr(value) for name, value in changed.items()}})


def export(screen: Screen, path: str, onnx: str | None, c: str | None) -> None:
    """`cnn export`."""
    if onnx is None and c is None:
        raise TableError("say what to write: --onnx FILE or --c FOLDER")
    if onnx is not None:
        write.check_place(onnx, "--onnx")
    if onnx == "-":
        raise TableError("--onnx must be a file: a graph is not text")
    if c is not None:
        write.check_folder(c, "--c", "model.c", "model.h")
    model = loading.load(path)
    written = []
    if onnx is not None:
        cnn.export_onnx(model, onnx)
        written.append(onnx)
    if c is not None:
        Path(c).parent.mkdir(parents=True, exist_ok=True)
        cnn.export_c(model, c)
        written.append(c)
    screen.say(f"written: {', '.join(written)}")
    screen.result({"written": written})


def demo(screen: Screen, out: str, epochs: int | None, seed: int, threads: int | None) -> None:
    """`cnn demo`."""
    folder, names = Path(out), ("california_housing.cnn", "predicted.csv")
    pictures = ("report.html", "learning_curves.png", "predicted_against_true.png")
    write.check_folder(out, "--out", *names, *pictures)
    target = "median_house_value"
    table = table_of(Reading(str(demo_table())), [target], {target})
    order = np.random.default_rng(0).permutation(len(table))
    test, rest = table.iloc[order[: len(table) // 5]], table.iloc[order[len(table) // 5 :]]
    screen.say(f"House prices in California: {len(rest):,} block groups to learn from, {len(test):,} to test")
    model = TableModel(target, epochs=epochs, seed=seed)
    fit(screen, model, [rest], threads)
    scores = model.evaluate(test, n_threads=threads)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    model.save(paths[0])
    again = loading.load(paths[0], TableModel).predict(test, n_threads=threads)
    with write.table(str(paths[1])) as writer:
        writer.write(test[[target]], {f"predicted_{target}": rounded(again, model.goal.each[0].unit)})
    from cnn import plots
    from cnn.cli import report

    pages = [folder / name for name in pictures]
    try:
        report.write(model, test, pages[0], "California housing, the test rows", threads)
        plots.curves(model.histories).savefig(pages[1], dpi=120)
        plots.predicted_against_true(model.goal.numbers(test[target]), again, target).savefig(pages[2], dpi=120)
        paths += pages
    except ImportError as error:
        screen.say(f"no page and no pictures: {error}")
    body = [[name, *(figure(found[name]) for found in (*model.scores.values(), scores))] for name in scores]
    speed = sum(map(len, model.histories)) * model.rows / model.seconds
    title = f"{counted(len(model.networks), 'network')}, {model.seconds:.1f} s, {speed:,.0f} rows/s (prices in dollars)"
    screen.table(title, ["score", "training", "held out", "test"], body)
    screen.say(f"written: {', '.join(map(str, paths))}")
    screen.result({**_about(model), "test": scores, "written": list(map(str, paths))})


def demo_table() -> Path:
    """The carried table: in the package, or beside the sources in a checkout."""
    package = Path(str(resources.files("cnn")))
    for path in (package / "demo_data" / _DEMO, package.parents[1] / "examples" / "data" / _DEMO):
        if path.exists():
            return path
    raise TableError(f"{_DEMO} is not beside the package; install it whole")


def _page(report: str) -> Path:
    """The page's file, checked; its folder may have to be made."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise TableError("--report needs matplotlib (extra 'plot'): pip install matplotlib") from None
    path = Path(report)
    if path.suffix.lower() == ".html":
        write.check_place(report, "--report")
        return path
    write.check_folder(report, "--report", "report.html")
    return path / "report.html"
