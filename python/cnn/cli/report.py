"""The page about a model: one HTML file with its pictures inside, which asks nothing of any network."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any

import numpy as np

from cnn import plots
from cnn.cli.screen import counted, figure
from cnn.cli.shown import visible
from cnn.files import atomic
from cnn.inspect import reports
from cnn.table import TableModel
from cnn.table.targets import each_name
from cnn.table.training import OutOfMember

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2rem auto; max-width: 60rem;
       padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } .scroll { overflow-x: auto }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
td.n, th.n { text-align: right } img { max-width: 100%; height: auto } .soft { color: #666 }
td { overflow-wrap: anywhere }
"""


def write(
    model: TableModel, table: Any, path: Path, source: str, n_threads: int | None = None,
    known: OutOfMember | None = None,
) -> None:  # fmt: skip
    """Writes the page; `table` has the rows whose predictions and importance of columns are shown.

    None of them was trained on, or `known` has what networks that were not trained on each have predicted.
    """
    page = _page(model, table, source, n_threads, known)
    atomic.write_whole(path, page.encode("utf-8"))


def _page(model: TableModel, table: Any, source: str, n_threads: int | None, known: OutOfMember | None) -> str:
    importance = model.feature_importance(table, n_threads=n_threads)
    y, outputs = _outputs(model, table, n_threads, known)
    predicted = model.answers(outputs)
    if model.task == "regression":
        pictures = _of_numbers(model, y, predicted)
    else:
        pictures = _of_classes(model, y.astype(np.int64), outputs, predicted)
    loss = "mean square of the scaled target's error" if model.task == "regression" else "log loss"
    title = ", ".join(each_name(model.target))
    several = len(each_name(model.target)) > 1
    rise = "log loss" if model.task == "classification" else "RMSE in deviations" if several else "RMSE"
    kinds = [[name, kind, _number(importance["importance"].get(name))] for name, kind in model.columns.items()]
    left_out = [[name, why, ""] for name, why in model.dropped.items()]
    parts = [
        f"<h1>{_safe(title)}</h1>",
        f"<p class=soft>{_safe(source)}: {_safe('; '.join(model.notes[: len(each_name(model.target))]))}</p>",
        "<h2>Scores</h2>", _scores(model),
        "<h2>Learning curves</h2>",
        f"<p>The loss of {counted(len(model.networks), 'network')} by epoch ({loss}); a dot marks the epoch "
        "that was best on the rows held out, the validation rows. Its weights are kept; the last ones where a network "
        "holds out fewer than 200 rows.</p>",
        _picture(plots.curves(model.histories), "Learning curves"),
        f"<h2>Predictions</h2><p>On {len(y):,} rows, each by networks that were not trained on it.</p>", pictures,
        f"<h2>Columns</h2><p>How much the {rise} rises when a column is shuffled: the more, the more the predictions "
        "depend on it. Columns that tell the same share their importance.</p>",
        _picture(plots.importance(importance), "Importance of the columns"),
        _table(["column", "kind, or why it is left out", f"rise of the {rise}"], [*kinds, *left_out], 2),
        "<h2>Notes</h2><ul>", *(f"<li>{_safe(note)}</li>" for note in model.notes), "</ul>",
        "<h2>Settings</h2>", _table(["setting", ""], _settings(model)),
        "<h2>Versions</h2>", _table(["", ""], [[k, str(v)] for k, v in reports.config().items()]),
    ]  # fmt: skip
    body = "\n".join(parts)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_safe(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" '
        f'content="{policy}">\n<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n'
    )


def _outputs(model: TableModel, table: Any, n_threads: int | None, known: OutOfMember | None) -> tuple[Any, Any]:
    """(targets as metrics take them, outputs) of the rows with a target."""
    if known is not None:
        return known.y, known.outputs
    part = table.iloc[model.goal.known(model.goal.cells(table))]
    y = model.goal.numbers(model.goal.cells(part))
    if model.task == "regression":
        return y, model.predict(part, n_threads=n_threads)
    p = model.predict_proba(part, n_threads=n_threads)
    return y, p[:, 1] if p.shape[1] == 2 else p


def _of_numbers(model: TableModel, y: Any, predicted: Any) -> str:
    """Two pictures of each target."""
    names = each_name(model.target)
    pictures = ""
    for name, true, said in zip(names, y.reshape(len(y), -1).T, predicted.reshape(len(y), -1).T, strict=True):
        of = f" of {name}" if len(names) > 1 else ""
        pictures += _picture(plots.predicted_against_true(true, said, name), f"Predicted against true{of}")
        pictures += _picture(plots.residuals(true, said, name), f"Residuals{of}")
    return pictures


def _of_classes(model: TableModel, y: Any, outputs: Any, predicted: Any) -> str:
    """Scores of each class, and pictures."""
    labels = model.classes.tolist()
    k = len(labels)
    said = (outputs > 0.5).astype(np.int64) if outputs.ndim == 1 else outputs.argmax(axis=1)
    hit, of, there = (np.bincount(codes, minlength=k) for codes in (y[y == said], said, y))
    rows = [
        [str(label), *(_share(a, b) for a, b in ((hit[i], of[i]), (hit[i], there[i]), (2 * hit[i], of[i] + there[i]))),
         f"{there[i]:,}", f"{of[i]:,}"]
        for i, label in enumerate(labels)
    ]  # fmt: skip
    head = ["class", "precision", "recall", "F1", "rows", "predicted"]
    return "".join([
        _table(head, rows, 1), _picture(plots.confusion(model.classes[y], predicted, labels), "Confusion matrix"),
        _picture(plots.reliability(y, outputs, labels), "Reliability of the probabilities"),
        _picture(plots.roc(y, outputs, labels), "ROC curves"),
    ])  # fmt: skip


def _share(part: int, of: int) -> str:
    return figure(float(part / of)) if of else "-"


def _safe(text: object) -> str:
    return html.escape(visible(str(text)), quote=True)


def _number(value: float | None) -> str:
    return "" if value is None else figure(float(value))


def _picture(drawn: Any, title: str) -> str:
    out = io.BytesIO()
    drawn.savefig(out, format="png", dpi=110)
    return f'<p><img alt="{_safe(title)}" src="data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"></p>'


def _table(header: list[str], rows: list[list[str]], first_number: int = 9) -> str:
    n = len(header)
    numeric = [i >= first_number for i in range(n)]
    kinds = [' class="n"' if right else "" for right in numeric]
    head = "".join(f"<th{kind}>{_safe(name)}</th>" for kind, name in zip(kinds, header, strict=True))
    lines = (
        "<tr>" + "".join(f"<td{k}>{_safe(c)}</td>" for k, c in zip(kinds, row, strict=True)) + "</tr>" for row in rows
    )
    shown = f"<tr>{head}</tr>" if any(header) else ""
    return f'<div class="scroll"><table>{shown}{"".join(lines)}</table></div>'


def _scores(model: TableModel) -> str:
    names = list(model.scores["training"])
    rows = [[n, *(_number(found.get(n)) for found in model.scores.values())] for n in names]
    return _table(["score", "training rows", "held-out rows"], rows, 1)


def _settings(model: TableModel) -> list[list[str]]:
    chosen = model.settings.chosen(model.task, model.rows, model.encoder.embedded)
    return [[name.replace("_", " "), str(value)] for name, value in chosen.__dict__.items()] + [
        ["seed", str(model.seed)], ["epochs of each network", ", ".join(str(len(h)) for h in model.histories)],
        ["seconds", f"{model.seconds:.1f}"], ["inputs", f"{len(model.encoder.inputs):,}"],
    ]  # fmt: skip
