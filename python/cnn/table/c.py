"""Table models as C99: the cells of a row become inputs, the networks and their mean in units of the target."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn.export import c_source
from cnn.export.c import function_of, layer_code, of_all, source_and_header
from cnn.export.c_source import fill, table
from cnn.table import blocks, columns
from cnn.table.columns import Boolean, Category, Date, Number
from cnn.table.encode import Encoder
from cnn.table.frames import TableError
from cnn.table.model import TableModel
from cnn.table.target import Target

_HEADER = """/* A table model made by cnn {version}: {task}. All texts are in UTF-8, without blanks around them. */
#ifndef {N}_H
#define {N}_H

#ifdef __cplusplus
extern "C" {
#endif

#define {N}_NUMBERS {numbers}
#define {N}_TEXTS {texts}
#define {N}_OUTPUTS {outputs}

{names}/* What is predicted for one row, y[{N}_OUTPUTS]: {what}.
   numbers[{N}_NUMBERS], NaN where missing: numbers as they are, booleans as 1 and 0, dates as days since 1970 (UTC).
   texts[{N}_TEXTS], NULL or "" where missing. Any thread may call it. */
void {n}_predict(const double *numbers, const char *const *texts, double *y);
{class}
#ifdef __cplusplus
}
#endif

#endif
"""
_SOURCE = (
    """/* A table model made by cnn {version}. C99 and libm; nothing is allocated: {stack} bytes of stack at most. */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "{n}.h"

"""
    + c_source.MACROS
    + """
{names}
{tables}

{functions}
{columns}
{networks}void {n}_predict(const double *numbers, const char *const *texts, double *y)
{
    real x[{inputs}], out[{raw}];
    int i;

{unused}{calls}
    for (i = 0; i < {raw}; i++)
        y[i] = 0.0;
{sums}    for (i = 0; i < {raw}; i++)
        y[i] = y[i] / {members};
{scaled}{both}}
{class}"""
)
# What the columns become, as `write` in columns.py: inputs are rounded to float32.
_KNOWN = """static int known(double x)
{
    return fabs(x) <= DBL_MAX; /* neither NaN nor infinite */
}
"""
_PUT_NUMBER = """static void put_number(double x, const double *nodes, const double *heights, int n, double center,
                       double scale, int gaps, real *out)
{
    int there = known(x), low = 0, high = n - 1, middle;
    double rank, t;

    x = there ? x : center;
    if (x >= nodes[n - 1]) {
        rank = heights[n - 1];
    } else if (x <= nodes[0]) {
        rank = heights[0];
    } else {
        while (high - low > 1) {
            middle = (low + high) / 2;
            if (nodes[middle] <= x)
                low = middle;
            else
                high = middle;
        }
        rank = (heights[high] - heights[low]) / (nodes[high] - nodes[low]) * (x - nodes[low]) + heights[low];
    }
    t = x / scale - center / scale;
    t = t > 1e6 ? 1e6 : (t < -1e6 ? -1e6 : t);
    out[0] = (float)(there ? rank : 0.0);
    out[1] = (float)(t / sqrt(1.0 + (t / {squash}) * (t / {squash})));
    if (gaps)
        out[2] = there ? R(0.0) : R(1.0);
}
"""
_PUT_SPIKES = """static void put_spikes(double x, const double *values, int n, real *out)
{
    int i;

    for (i = 0; i < n; i++)
        out[i] = x <= values[i] && x >= values[i] ? R(1.0) : R(0.0);
}
"""
_PUT_STAIRS = """static void put_stairs(double x, double center, const double *edges, int n, real *out)
{
    double z, low, high;
    int i;

    x = known(x) ? x : center;
    for (i = 0; i < n; i++) {
        z = (x - edges[i]) / (edges[i + 1] - edges[i]);
        low = i == 0 ? -1.0 : 0.0;
        high = i == n - 1 ? 2.0 : 1.0;
        out[i] = (float)(z > high ? high : (z < low ? low : z));
    }
}
"""
_PUT_PLACE = """static void put_place(double x, double center, const double *edges, int n, real *out)
{
    double z;
    int i = 0;

    x = known(x) ? x : center;
    while (i < n - 1 && x >= edges[i + 1])
        i++;
    z = (x - edges[i]) / (edges[i + 1] - edges[i]);
    *out = (float)i + (float)(z > 2.0 ? 2.0 : (z < -1.0 ? -1.0 : z));
}
"""
_PUT_BOOLEAN = """static void put_boolean(double x, int gaps, real *out)
{
    out[0] = (float)(known(x) ? 2.0 * x - 1.0 : 0.0);
    if (gaps)
        out[1] = known(x) ? R(0.0) : R(1.0);
}
"""
_PUT_TEXT = """static void put_text(const char *text, const char *const *values, int n, int rare, int gaps,
                     double one, real *out)
{
    int i, place = rare ? n : -1;

    for (i = 0; i < n + rare + gaps; i++)
        out[i] = R(0.0);
    if (text == NULL || text[0] == '\\0') {
        place = gaps ? n + rare : -1;
    } else {
        for (i = 0; i < n; i++)
            if (strcmp(text, values[i]) == 0)
                place = i;
    }
    if (place >= 0)
        out[place] = (float)one;
}
"""
_PUT_WAVE = """static void put_wave(double days, double period, real *out)
{
    int there = known(days);
    double angle = {turn} * (there ? days : 0.0) / period;

    out[0] = (float)(there ? sin(angle) : 0.0);
    out[1] = (float)(there ? cos(angle) : 0.0);
}
"""


@source_and_header.register
def _(model: TableModel, name: str) -> tuple[str, str]:
    encoder, goal, networks = model.encoder, model.goal, model.networks
    if len({net.dtype for net in networks}) > 1:
        raise ValueError("C takes networks of one type, and this model has float32 and float64")
    codes = [layer_code(net, f"n{i}_") for i, net in enumerate(networks)]
    shared = {**of_all(codes, name), "squash": repr(blocks.SQUASH), "turn": _double(2 * np.pi)}
    written = _Columns(encoder)
    classes = [str(label) for label in goal.classes]
    targets = [one.name for one in goal.each] if len(goal.each) > 1 else []
    tables = {
        "number_names": written.numbers, "text_names": written.texts, "target_names": targets, "classes": classes,
    }  # fmt: skip
    inputs, outputs = encoder.n_inputs, len(classes) or goal.outputs
    stack = max(code.stack for code in codes) + networks[0].dtype.itemsize * (inputs + goal.outputs)
    names = {
        **shared, "task": model.task, "numbers": str(len(written.numbers)), "texts": str(len(written.texts)),
        "outputs": str(outputs), "raw": str(goal.outputs), "inputs": str(inputs), "members": f"{len(networks)}.0",
        "stack": f"{stack:,}",
        "columns": fill("\n".join(written.functions), shared), "calls": "".join(written.calls),
        "unused": "".join(f"    (void){part};\n" for part in ("numbers", "texts") if not getattr(written, part)),
        "tables": "\n\n".join([*written.tables, *(code.texts["tables"] for code in codes)]),
        "networks": "".join(map(function_of, codes, range(len(codes)))),
        "sums": "".join(_sum(i, goal.outputs) for i in range(len(networks))),
        "scaled": "" if classes else "".join(map(_scaled, range(len(goal.each)), goal.each)),
        "both": "    y[1] = y[0];\n    y[0] = 1.0 - y[1];\n" if classes and goal.outputs == 1 else "",
        "class": fill(c_source.CLASS_OF, {**shared, "real": "double"}) if classes else "",
    }  # fmt: skip
    what = "the number" if outputs == 1 else "the number of each target"
    header = {
        **names, "what": "the probabilities of the classes" if classes else what,
        "names": _declared(tables, name), "class": _declared_class(name) if classes else "",
    }  # fmt: skip
    names["names"] = "".join(_texts(f"{name}_{part}", texts) for part, texts in tables.items() if texts)
    return fill(_SOURCE, names), fill(_HEADER, header)


def _scaled(i: int, goal: Target) -> str:
    """The prediction in units of a target, within the numbers that taught, where they are known; NaN stays NaN."""
    scaled = f"    y[{i}] = y[{i}] * {_double(goal.deviation)} + {_double(goal.mean)};\n"
    if goal.offset is not None:
        scaled += f"    y[{i}] = exp(y[{i}]) - {_double(goal.offset)};\n"
    if not math.isfinite(goal.high - goal.low):
        return scaled
    low, high = _double(goal.low), _double(goal.high)
    return f"{scaled}    y[{i}] = y[{i}] < {low} ? {low} : (y[{i}] > {high} ? {high} : y[{i}]);\n"


def _declared(tables: dict[str, list[str]], name: str) -> str:
    said = {
        "number_names": "The columns whose cells `numbers` holds, in this order.",
        "text_names": "The columns whose cells `texts` holds, in this order.",
        "target_names": "The targets, in the order of `y`.", "classes": "The classes.",
    }  # fmt: skip
    return "".join(
        f"/* {said[part]} */\nextern const char *const {name}_{part}[{len(texts)}];\n\n"
        for part, texts in tables.items()
        if texts
    )


def _declared_class(name: str) -> str:
    return f"\n/* The most probable class: an index of {name}_classes. */\nint {name}_class(const double *y);\n"


class _Columns:
    """The tables and the calls that turn the cells of a row into inputs."""

    def __init__(self, encoder: Encoder) -> None:
        self.numbers: list[str] = []
        self.texts: list[str] = []
        self.tables: list[str] = []
        self.calls: list[str] = []
        self._embedded, self._place = encoder.embedded, 0
        used, at = set[str](), len(encoder.stairs) if encoder.embedded else 0
        for i, column in enumerate(encoder.columns):
            if isinstance(column, Category):
                cell = f"texts[{len(self.texts)}]"
                self.texts.append(column.name)
                self.tables.append(_texts(f"values{i}", column.values, f"column {column.name!r}: ", "static ").rstrip())
                what = len(column.values), int(column.rare), int(column.gaps), _double(column.one)
                self._call("put_text", cell, f"values{i}", *what, at)
                used.add(_PUT_TEXT)
            else:
                cell = f"numbers[{len(self.numbers)}]"
                self.numbers.append(column.name)
                used |= {_KNOWN, *self._numeric(column, i, cell, at)}
            at += len(column.inputs) - (columns.stairs_of(column) if encoder.embedded else 0)
        known = (_KNOWN, _PUT_NUMBER, _PUT_SPIKES, _PUT_STAIRS, _PUT_PLACE, _PUT_BOOLEAN, _PUT_TEXT, _PUT_WAVE)
        self.functions = [f for f in known if f in used]

    def _numeric(self, column: Number | Boolean | Date, i: int, cell: str, at: int) -> Iterator[str]:
        """Writes its calls; the functions that they need."""
        if isinstance(column, Boolean):
            self._call("put_boolean", cell, int(column.gaps), at)
            yield _PUT_BOOLEAN
            return
        number = column.days if isinstance(column, Date) else column
        columns.check_span(number)
        self.tables += [table(f"{part}{i}", getattr(number, part), "double") for part in ("nodes", "heights")]
        scale = f"{_double(number.center)}, {_double(number.scale)}"
        self._call("put_number", cell, f"nodes{i}", f"heights{i}", len(number.nodes), scale, int(number.gaps), at)
        yield _PUT_NUMBER
        yield from self._finer(number, i, cell, at + number.coarse)
        at += len(number.inputs) - (columns.stairs_of(column) if self._embedded else 0)
        for place, period in enumerate(column.periods if isinstance(column, Date) else ()):
            self._call("put_wave", cell, _double(columns.PERIODS[period]), at + 2 * place)
            yield _PUT_WAVE

    def _finer(self, number: Number, i: int, cell: str, at: int) -> Iterator[str]:
        if n := len(number.spikes):
            self.tables.append(table(f"spikes{i}", number.spikes, "double"))
            self._call("put_spikes", cell, f"spikes{i}", n, at)
            yield _PUT_SPIKES
        if bins := columns.stairs_of(number):
            self.tables.append(table(f"edges{i}", number.edges, "double"))
            what = cell, _double(number.center), f"edges{i}", bins
            if self._embedded:
                self._call("put_place", *what, self._place)
                self._place += 1
            else:
                self._call("put_stairs", *what, at + n)
            yield _PUT_PLACE if self._embedded else _PUT_STAIRS

    def _call(self, function: str, *arguments: Any) -> None:
        *given, at = map(str, arguments)
        self.calls.append(f"    {function}({', '.join(given)}, x + {at});\n")


def _sum(i: int, outputs: int) -> str:
    return f"    net{i}(x, out);\n    for (i = 0; i < {outputs}; i++)\n        y[i] += out[i];\n"


def _texts(name: str, texts: Any, where: str = "", kind: str = "") -> str:
    try:
        return c_source.texts(name, texts, where, kind)
    except ValueError as error:
        raise TableError(str(error)) from None


def _double(value: float) -> str:
    return float(value).hex()
