"""`cnn.export_c`: each kind of model registers how it becomes one file of C99 and its header."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path

import numpy as np

from cnn._version import __version__
from cnn.export import c_source, layers
from cnn.export.c_source import MACROS, fill, function
from cnn.export.functions import ACTIVATIONS, LINKS
from cnn.export.weights import takes_bytes
from cnn.files import atomic
from cnn.network import Network
from cnn.runtime.plan import placed

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}", re.ASCII)
_KEYWORDS = re.compile(
    "auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|main|"
    "register|restrict|return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while"
)
_FRAME = 512  # bytes for what compilers keep beside the buffers, without optimization too
_HEADER = """/* A network made by cnn {version}: {inputs} inputs, {outputs} outputs, {kind}.
   {stack} bytes of stack at most.{order}{bytes} */
#ifndef {N}_H
#define {N}_H

#ifdef __cplusplus
extern "C" {
#endif

#define {N}_INPUTS {inputs}
#define {N}_OUTPUTS {outputs}

/* The raw outputs y[{N}_OUTPUTS] of one row x[{N}_INPUTS]. x and y must not overlap. Any thread may call it. */
void {n}_forward(const {input} *x, {real} *y);

/* What the network predicts: the raw outputs through the link of its loss ({link}). */
void {n}_predict(const {input} *x, {real} *y);
{classes}
#ifdef __cplusplus
}
#endif

#endif
"""
_CLASSES = """
/* In the order of the outputs. */
{names}
"""
_CLASSES_SAID = """
/* The class that is predicted: an index of {n}_classes. */
int {n}_class(const {real} *y);
extern const char *const {n}_classes[{count}];
"""
_ORDER = {
    1: "", 2: "\n   A row is a signal: {a} points one after another, the {b} channels of each.",
    3: "\n   A row is an image: its {a} rows of {b} pixels from top to bottom, the {c} channels of each pixel.",
}  # fmt: skip
_SOURCE = (
    """/* A network made by cnn {version}. C99 and libm; nothing is allocated: {stack} bytes of stack at most. */
#include <math.h>

#include "{n}.h"

"""
    + MACROS
    + """
{tables}

{functions}
void {n}_forward(const {input} *{x}, real *y)
{
{buffers}    int i, j;

{layers}}

void {n}_predict(const {input} *x, real *y)
{
{unused}    {n}_forward(x, y);{link}
}
"""
)
_NETWORK = """static void net{i}(const real *x, real *y)
{
{buffers}    int i, j;

{layers}{link}
}

"""


def export_c(
    model: object, folder: str | os.PathLike[str], name: str = "model", *, uint8: bool | None = None
) -> tuple[Path, Path]:
    """Writes `name`.c and `name`.h: the model as C99 without a dependency but libm, and without any allocation.

    A network: `void name_predict(const float *x, float *y)` does for one row what `predict` does (double for float64);
    `name_forward` gives the raw outputs. Weights are hex floats, so they keep every bit. Raw outputs agree with
    `forward` within 4 ULP times the number of layers with weights, the ULP that of the sums of magnitudes
    (docs/deploy.md). A row of a network for images is (height, width, channels), row by row. The header says how much
    stack it takes.

    An estimator: a regressor as its network. A classifier's `name_predict` gives the probability of each class, in the
    order of `classes_`, which are the texts `name_classes`; `int name_class(const float *y)` says which class is
    predicted, `void name_labels(const float *y, int *labels)` which of several labels are (1, else 0). With the loss
    hinge it gives margins, one for two classes. An `ImageClassifier` as its network, with `name_class` and
    `name_classes`.

    A table model: `void name_predict(const double *numbers, const char *const *texts, double *y)` takes the cells of a
    row: texts (NULL or "" where missing) of its categories; numbers (NaN where missing) of its other columns, for
    booleans 1 and 0, for dates the days since 1970 in UTC. It gives the number, or the probability of each class;
    `int name_class(const double *y)` says which is the largest. The header tells the order.

    Args:
        model: a `Network`, an estimator or a `TableModel`.
        folder: made when it is not there.
        name: of the files and in front of the functions: lower-case letters, digits, `_`.
        uint8: whether the functions of a network for images take bytes (`const unsigned char *x`), which they multiply
            by 1 / 255; None: if it was trained on such images.

    Returns:
        (source, header): their paths.

    Raises:
        NotBuiltError: the network has no weights yet, the table model no table.
        NotFittedError: the estimator was not fitted.
        TypeError: what else there is, or classes that are neither text nor numbers.
        ValueError: a name that is no identifier, a weight that is not finite, or what C has no constant for; `uint8` of
            what takes no images.

    >>> import cnn, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source, header = cnn.export_c(cnn.Network([cnn.Dense(2)]).build(3), folder)
    >>> source.name, header.name
    ('model.c', 'model.h')
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or _KEYWORDS.fullmatch(name):
        raise ValueError(f"name must be a C identifier of lower-case letters, digits and '_', got {name!r}")
    if isinstance(model, Network):
        source, header = network_files(model, name, takes_bytes(model, uint8))
    else:
        takes_bytes(model, uint8)
        source, header = source_and_header(model, name)
    made = Path(folder)
    made.mkdir(exist_ok=True)
    paths = made / f"{name}.c", made / f"{name}.h"
    for path, text in zip(paths, (source, header), strict=True):
        atomic.write_whole(path, text.encode())
    return paths


@singledispatch
def source_and_header(model: object, name: str) -> tuple[str, str]:
    """The two files of a model."""
    raise TypeError(f"export_c takes a Network, an estimator or a TableModel, got {type(model).__name__}")


@source_and_header.register
def _(net: Network, name: str) -> tuple[str, str]:
    return network_files(net, name, False)


def network_files(net: Network, name: str, of_bytes: bool, classes: Sequence[str] = ()) -> tuple[str, str]:
    """Source and header; `of_bytes`: from images of bytes, which become numbers in a buffer of their own."""
    code = layer_code(net)
    if of_bytes:
        n, factor = net.plan.n_inputs, c_source.number(net.dtype.type(1 / 255))
        buffer = f"    CNN_BUFFERS real x[{n}];\n"
        loop = f"    for (i = 0; i < {n}; i++)\n        x[i] = (real)pixels[i] * {factor};\n\n"
        texts = {"buffers": buffer + code.texts["buffers"], "layers": loop + code.texts["layers"]}
        code = replace(code, texts={**code.texts, **texts}, stack=code.stack + n * net.dtype.itemsize)
    link = LINKS[net.loss.link].c
    names = {
        **of_all([code], name), **code.texts, "inputs": str(net.plan.n_inputs), "outputs": str(net.n_outputs),
        "kind": net.dtype.name, "stack": f"{code.stack:,}",
        "input": "unsigned char" if of_bytes else "float" if net.dtype == np.float32 else "double",
        "x": "pixels" if of_bytes else "x", "bytes": " Each is a byte, 0 to 255." if of_bytes else "",
        "link": fill(link, {"outputs": f"{name.upper()}_OUTPUTS"}), "unused": "    int i;\n\n" if link else "",
    }  # fmt: skip
    source, said = _SOURCE, ""
    if classes:
        names |= {"count": str(len(classes)), "names": c_source.texts(f"{name}_classes", classes, "class ").rstrip()}
        source, said = source + _CLASSES + c_source.CLASS_OF, fill(_CLASSES_SAID, names)
    return fill(source, names), fill(_HEADER, {**names, "link": net.loss.link, "classes": said})


@dataclass(frozen=True)
class NetworkCode:
    """A network in C: texts for the templates (tables, buffers, layers), its activations, the bytes of stack."""

    net: Network
    texts: dict[str, str]
    functions: list[str]
    stack: int


def layer_code(net: Network, prefix: str = "") -> NetworkCode:
    """All layers; `prefix` stands before the names of their tables."""
    written: list[layers.Code] = []
    loops: list[str] = []
    read: list[str] = []  # by each layer
    source, places, widths = "x", net.plan.tiles.places, dict[str, int]()
    for i, layer in enumerate(placed(net.descriptions, net.loss)):
        read.append(source)
        code = layers.code(layer, net, i, prefix, len(written))
        if code is None:
            continue
        place = places[len(written)]
        target = ("qp"[place] if place < 2 else f"p{place}") if len(written) < len(places) - 1 else "y"
        widths[target] = max(widths.get(target, 0), code.width)
        loops.append(fill(code.loops, {"source": source, "other": read[i - layer.reach], "target": target}))
        source = target
        written.append(code)
    del widths["y"]
    buffers = [f"{name}[{width}]" for name, width in sorted(widths.items())]
    texts = {
        "order": fill(_ORDER[len(net.input_shape)], dict(zip("abc", map(str, net.input_shape), strict=False))),
        "tables": "\n\n".join(table for code in written for table in code.tables), "layers": "\n".join(loops),
        "buffers": f"    CNN_BUFFERS real {', '.join(buffers)};\n" if buffers else "",
    }  # fmt: skip
    stack = sum(widths.values()) * net.dtype.itemsize + _FRAME
    return NetworkCode(net, texts, [code.function for code in written], stack)


def of_all(codes: Sequence[NetworkCode], name: str) -> dict[str, str]:
    """What the templates need to know of networks of one type; ValueError for what can't be said in C."""
    if not all(np.isfinite(value).all() for code in codes for value in code.net.parameters.values()):
        raise ValueError("the network has weights that are not finite; C has no constants for them")
    single = codes[0].net.dtype == np.float32
    bodies = {kind: ACTIVATIONS[kind].c for code in codes for kind in code.functions}
    return {
        "n": name, "N": name.upper(), "version": __version__, "real": "float" if single else "double",
        "paste": "##f" if single else "",
        "functions": "\n".join(function(kind, body) for kind, body in bodies.items() if body),
    }  # fmt: skip


def function_of(code: NetworkCode, i: int) -> str:
    """What the network predicts as a static function `net<i>`."""
    link = fill(LINKS[code.net.loss.link].c, {"outputs": str(code.net.n_outputs)})
    return fill(_NETWORK, {**code.texts, "i": str(i), "link": link})
