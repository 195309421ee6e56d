"""Estimators elsewhere: their network and, for classifiers, the labels and probabilities made of its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnn.export import c_source
from cnn.export.c import function_of, layer_code, of_all, source_and_header
from cnn.export.c_source import fill
from cnn.export.graph import Graph, Value
from cnn.export.onnx import graph_of, started
from cnn.runtime.data import Array
from cnn.sklearn.base import BaseMLP
from cnn.sklearn.classifier import MLPClassifier

_HEADER = """/* A classifier made by cnn {version}: {inputs} inputs, {kind}. All texts are in UTF-8. */
#ifndef {N}_H
#define {N}_H

#ifdef __cplusplus
extern "C" {
#endif

#define {N}_INPUTS {inputs}
#define {N}_OUTPUTS {outputs}

{classes}/* {what} of one row x[{N}_INPUTS], to y[{N}_OUTPUTS].
   x and y must not overlap. Any thread may call it. */
void {n}_predict(const {real} *x, {real} *y);

{choice}
#ifdef __cplusplus
}
#endif

#endif
"""
_SOURCE = (
    """/* A classifier made by cnn {version}. C99 and libm; nothing is allocated: {stack} bytes of stack at most. */
#include <math.h>

#include "{n}.h"

"""
    + c_source.MACROS
    + """
{names}{tables}

{functions}
{network}void {n}_predict(const real *x, real *y)
{
{sum}    net0(x, y);
{made}}
{choice}"""
)
_CLASSES = """/* The classes, in the order of `classes_`. */
extern const char *const {n}_classes[{count}];

"""
_BOTH = """    y[1] = y[0];
    y[0] = R(1.0) - y[1];
"""
_SUM = """    real sum = R(0.0);
    int i;

"""
_SHARES = """    for (i = 0; i < {N}_OUTPUTS; i++)
        sum += y[i];
    for (i = 0; i < {N}_OUTPUTS; i++)
        y[i] = sum > R(0.0) ? y[i] / sum : R(1.0) / R({outputs}.0);
"""
_LABELS = """
void {n}_labels(const {real} *y, int *labels)
{
    int i;

    for (i = 0; i < {N}_OUTPUTS; i++)
        labels[i] = y[i] > R({threshold});
}
"""
_SIGN = """
int {n}_class(const {real} *y)
{
    return y[0] > R(0.0);
}
"""
_LABELS_SAID = """/* The labels[{N}_OUTPUTS] that are predicted, 1 or 0: 1 where y is above {threshold}. */
void {n}_labels(const {real} *y, int *labels);
"""
_CLASS_SAID = """/* The class that is predicted: an index of {n}_classes. */
int {n}_class(const {real} *y);
"""


def classes_of(est: Any) -> Array:
    """The labels, text as objects."""
    classes: Array = est.classes_
    if classes.dtype.kind in "biuf":
        return classes
    if not all(isinstance(label, str) for label in classes.tolist()):
        raise TypeError(f"labels of dtype {classes.dtype} can't be exported: text, numbers and truth values can")
    return np.array([str(label) for label in classes], object)


def _margins(est: BaseMLP) -> bool:
    """Whether its outputs are margins, not probabilities."""
    return est.network_.loss.margins


def _one_against_rest(est: Any) -> bool:
    loss = est.network_.loss
    return est._task == "multiclass" and not (loss.one_class or loss.margins)


# ONNX -----------------------------------------------------------------------------------------------------------------


@graph_of.register
def _(est: BaseMLP) -> Graph:
    graph, out = started(est.network_)
    k = est.network_.n_outputs
    if k == 1:
        graph.give("prediction", _vector(graph, out), (graph.dtype, ["n"]))
    else:
        graph.give("prediction", out, (graph.dtype, ["n", k]))
    return graph


@graph_of.register
def _(est: MLPClassifier) -> Graph:
    graph, out = started(est.network_)
    for name, (value, kind) in _labels(graph, est, out).items():
        graph.give(name, value, kind)
    return graph


def _labels(g: Graph, est: Any, out: str) -> dict[str, tuple[str, Value]]:
    """As `MLPClassifier.predict` and `predict_proba`."""
    k, margins = est.network_.n_outputs, _margins(est)
    above = g.cast(g.op("Greater", out, 0.0 if margins else 0.5), np.int64)
    scores: tuple[str, Value] = (out, (g.dtype, ["n", k]))
    if est._task == "multilabel":
        return {"label": (above, (np.int64, ["n", k])), "scores" if margins else "probabilities": scores}
    classes = classes_of(est)
    if k == 1 and len(classes) == 2:
        index = _vector(g, above)
        scores = (_vector(g, out), (g.dtype, ["n"]))
        if not margins:
            scores = (g.op("Concat", g.op("Sub", 1.0, out), out, axis=1), (g.dtype, ["n", 2]))
    else:
        index = g.op("ArgMax", out, axis=1, keepdims=0)
        if len(classes) == 1 and not margins:
            scores = (g.op("Exp", g.op("Mul", out, 0.0)), scores[1])
        elif _one_against_rest(est):
            total = g.op("ReduceSum", out, g.array("axis", np.array([1], np.int64)), keepdims=1)
            some = g.op("Greater", total, 0.0)
            shares = g.op("Div", out, g.op("Where", some, total, 1.0))
            scores = (g.op("Where", some, shares, 1.0 / k), scores[1])
    label = g.op("Gather", g.array("classes", classes), index)
    kind = np.str_ if classes.dtype == object else classes.dtype
    return {"label": (label, (kind, ["n"])), "scores" if margins else "probabilities": scores}


def _vector(g: Graph, column: str) -> str:
    return g.op("Reshape", column, g.array("vector", np.array([-1], np.int64)))


# C --------------------------------------------------------------------------------------------------------------------


@source_and_header.register
def _(est: BaseMLP, name: str) -> tuple[str, str]:
    return source_and_header(est.network_, name)


@source_and_header.register
def _(est: MLPClassifier, name: str) -> tuple[str, str]:
    net = est.network_
    several, margins = est._task == "multilabel", _margins(est)
    classes = [] if several else [str(label) for label in classes_of(est).tolist()]
    one_output = net.n_outputs == 1 and len(classes) == 2  # of two classes
    code = layer_code(net)
    names = {
        **of_all([code], name), **code.texts, "stack": f"{code.stack:,}",
        "inputs": str(net.n_inputs), "kind": net.dtype.name,
        "outputs": str(2 if one_output and not margins else net.n_outputs), "count": str(len(classes)),
        "threshold": "0.0" if margins else "0.5", "sum": _SUM if _one_against_rest(est) else "",
        "names": c_source.texts(f"{name}_classes", classes, "class ") if classes else "",
        "network": function_of(code, 0),
    }  # fmt: skip
    source, header = dict(names), dict(names)
    source["made"] = fill(_probabilities(est, len(classes)), names)
    source["choice"] = fill(_LABELS if several else _SIGN if one_output and margins else c_source.CLASS_OF, names)
    header["classes"] = fill(_CLASSES, names) if classes else ""
    header["choice"] = fill(_LABELS_SAID if several else _CLASS_SAID, names)
    header["what"] = _what(several, one_output, margins)
    return fill(_SOURCE, source), fill(_HEADER, header)


def _probabilities(est: Any, n_classes: int) -> str:
    """From the outputs of the network to those of `predict_proba`."""
    if _margins(est):
        return ""
    if _one_against_rest(est):
        return _SHARES
    return {1: "    y[0] = R(1.0);\n", 2: _BOTH}.get(n_classes, "") if est.network_.n_outputs == 1 else ""


def _what(several: bool, one_output: bool, margins: bool) -> str:
    if margins and one_output:
        return "The margin, above 0 for the second class,"
    return f"The {'margins' if margins else 'probabilities'} of the {'labels' if several else 'classes'}"
