"""Networks as C99: one file and its header, which need nothing but a compiler and libm."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn._common import checks
from cnn._version import __version__
from cnn.activations import Activation
from cnn.files import atomic
from cnn.layers import Dense
from cnn.network import Network
from cnn.runtime.plan import layer_activation

if TYPE_CHECKING:
    from cnn.sklearn.base import BaseMLP
    from cnn.table import TableModel

_LONGEST = 4095  # characters of a text that every compiler of C99 takes
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}", re.ASCII)
_KEYWORDS = re.compile(
    "auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|main|"
    "register|restrict|return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while"
)
# Bodies of `static real f(real z, real alpha)`. F(name) is the function of math.h for the type, R(x) a constant of it.
_BODIES = {
    "sigmoid": "return R(1.0) / (R(1.0) + F(exp)(-z));",
    "tanh": "return F(tanh)(z);",
    "relu": "return z < R(0.0) ? R(0.0) : z;",
    "leaky_relu": "return z > R(0.0) ? z : alpha * z;",
    "relu6": "return z < R(0.0) ? R(0.0) : (z > R(6.0) ? R(6.0) : z);",
    "elu": "return z > R(0.0) ? z : alpha * F(expm1)(z);",
    "selu": "return z > R(0.0) ? R(1.0507009873554804934) * z : R(1.7580993408473768599) * F(expm1)(z);",
    "celu": "return z > R(0.0) ? z : alpha * F(expm1)(z / alpha);",
    # In double, and with the rounding of the argument made good: erfc magnifies it z^2 times.
    "gelu": """double x = -(double)z * 0.70710678118654752440;
    double d = fma(-(double)z, 0.70710678118654752440, -x) + (double)z * 4.8336466567264567e-17;
    double tail = erfc(x) - 1.1283791670955125739 * exp(-x * x) * d;
    return (double)z < -40.0 ? R(-0.0) : (real)(0.5 * (double)z * tail);""",
    "gelu_tanh": """double x = (double)z, t = x * x, inner = fma(0.071354816272600244, t, 1.5957691216057308);
    double d = fma(0.071354816272600244, t, 1.5957691216057308 - inner), u = x * inner;
    double s = 1.0 / (1.0 + exp(-u));
    d = fma(x, inner, -u) + x * d;
    return (double)z < -1e2 ? R(-0.0) : (real)(x * (s + s * (1.0 - s) * d));""",
    "silu": "return z < R(-1e3) ? R(-0.0) : z / (R(1.0) + F(exp)(-z));",
    # tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2), e = e^z
    "mish": """real e = F(exp)(z > R(20.0) ? R(20.0) : z), p = e * (e + R(2.0));
    return z < R(-1e3) ? R(-0.0) : (z > R(20.0) ? z : z * (p / (p + R(2.0))));""",
    "softplus": "return (z > R(0.0) ? z : R(0.0)) + F(log1p)(F(exp)(-F(fabs)(z)));",
    "softsign": "return F(fabs)(z) > R(1e30) ? (z > R(0.0) ? R(1.0) : R(-1.0)) : z / (R(1.0) + F(fabs)(z));",
    "hard_sigmoid": """real s = z + R(3.0);
    return (s < R(0.0) ? R(0.0) : (s > R(6.0) ? R(6.0) : s)) / R(6.0);""",
    "hard_swish": """real s = z + R(3.0);
    return (z < R(-3.0) ? R(-3.0) : z) * ((s < R(0.0) ? R(0.0) : (s > R(6.0) ? R(6.0) : s)) / R(6.0));""",
    "hard_tanh": "return z < R(-1.0) ? R(-1.0) : (z > R(1.0) ? R(1.0) : z);",
}
LINKS = {
    "identity": "",
    "sigmoid": """
    for (i = 0; i < {outputs}; i++)
        y[i] = R(1.0) / (R(1.0) + F(exp)(-y[i]));""",
    "exp": """
    for (i = 0; i < {outputs}; i++)
        y[i] = F(exp)(y[i]);""",
    "softmax": """
    real top = y[0], sum = R(0.0);
    for (i = 1; i < {outputs}; i++)
        top = y[i] > top ? y[i] : top;
    for (i = 0; i < {outputs}; i++) {
        y[i] = F(exp)(y[i] - top);
        sum += y[i];
    }
    for (i = 0; i < {outputs}; i++)
        y[i] /= sum;""",
}
_HEADER = """/* A network made by cnn {version}: {inputs} inputs, {outputs} outputs, {kind}. */
#ifndef {N}_H
#define {N}_H

#ifdef __cplusplus
extern "C" {
#endif

#define {N}_INPUTS {inputs}
#define {N}_OUTPUTS {outputs}

/* The raw outputs y[{N}_OUTPUTS] of one row x[{N}_INPUTS]. x and y must not overlap. Any thread may call it. */
void {n}_forward(const {real} *x, {real} *y);

/* What the network predicts: the raw outputs through the link of its loss ({link}). */
void {n}_predict(const {real} *x, {real} *y);

#ifdef __cplusplus
}
#endif

#endif
"""
MACROS = """typedef {real} real;
#define R(x) x{paste}
#define F(name) name{paste}

/* Where the machine has no fused multiply-add, this is quicker, and agrees a little less with what was trained:
   -D"CNN_FMA(a,b,c)=((a)*(b)+(c))" */
#ifndef CNN_FMA
#define CNN_FMA(a, b, c) F(fma)(a, b, c)
#endif
"""
_SOURCE = (
    """/* A network made by cnn {version}. C99 and libm; nothing is allocated: {stack} bytes of stack at most. */
#include <math.h>

#include "{n}.h"

"""
    + MACROS
    + """
{tables}

{functions}
void {n}_forward(const real *x, real *y)
{
{buffers}    int i, j;

{layers}}

void {n}_predict(const real *x, real *y)
{
{unused}    {n}_forward(x, y);{link}
}
"""
)
NETWORK = """static void net{i}(const real *x, real *y)
{
{buffers}    int i, j;

{layers}{link}
}

"""
CLASS_OF = """
int {n}_class(const {real} *y)
{
    int i, largest = 0;

    for (i = 1; i < {N}_OUTPUTS; i++)
        largest = y[i] > y[largest] ? i : largest;
    return largest;
}
"""


def export_c(
    model: Network | TableModel | BaseMLP, folder: str | os.PathLike[str], name: str = "model"
) -> tuple[Path, Path]:
    """Writes `name`.c and `name`.h: the model as C99 without a dependency but libm, and without any allocation.

    A network: `void name_predict(const float *x, float *y)` does for one row what `predict` does (double for float64);
    `name_forward` gives the raw outputs. Weights are hex floats, so they keep every bit. Raw outputs agree with
    `forward` within 4 ULP times the number of dense layers, the ULP that of the sums of magnitudes (docs/deploy.md).

    An estimator: a regressor as its network. A classifier's `name_predict` gives the probability of each class, in the
    order of `classes_`, which are the texts `name_classes`; `int name_class(const float *y)` says which class is
    predicted, `void name_labels(const float *y, int *labels)` which of several labels are (1, else 0). With the loss
    hinge it gives margins, one for two classes.

    A table model: `void name_predict(const double *numbers, const char *const *texts, double *y)` takes the cells of a
    row: texts (NULL or "" where missing) of its categories; numbers (NaN where missing) of its other columns, for
    booleans 1 and 0, for dates the days since 1970 in UTC. It gives the number, or the probability of each class;
    `int name_class(const double *y)` says which is the largest. The header tells the order.

    Args:
        folder: made when it is not there.
        name: of the files and in front of the functions: lower-case letters, digits, `_`.

    Returns:
        (source, header): their paths.

    Raises:
        NotBuiltError: the network has no weights yet, the table model no table.
        NotFittedError: the estimator was not fitted.
        TypeError: what else there is, or classes that are neither text nor numbers.
        ValueError: a name that is no identifier, a weight that is not finite, or what C has no constant for.

    >>> import cnn, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source, header = cnn.export_c(cnn.Network([cnn.Dense(2)]).build(3), folder)
    >>> source.name, header.name
    ('model.c', 'model.h')
    """
    from cnn.table import TableModel

    if not isinstance(name, str) or not _NAME.fullmatch(name) or _KEYWORDS.fullmatch(name):
        raise ValueError(f"name must be a C identifier of lower-case letters, digits and '_', got {name!r}")
    if isinstance(model, TableModel):
        from cnn.table import c

        source, header = c.source_and_header(model, name)
    elif isinstance(model, Network):
        source, header = source_and_header(model, name)
    elif checks.is_estimator(model):
        from cnn.sklearn import export

        source, header = export.source_and_header(model, name)
    else:
        raise TypeError(f"export_c takes a Network, an estimator or a TableModel, got {type(model).__name__}")
    made = Path(folder)
    made.mkdir(exist_ok=True)
    paths = made / f"{name}.c", made / f"{name}.h"
    for path, text in zip(paths, (source, header), strict=True):
        atomic.write_whole(path, text.encode())
    return paths


def source_and_header(net: Network, name: str) -> tuple[str, str]:
    """The two files of a network."""
    code = layer_code(net)
    names = {
        **of_all([net], name), **code, "inputs": str(net.plan.n_inputs), "outputs": str(net.n_outputs),
        "kind": net.dtype.name, "link": fill(LINKS[net.loss.link], {"outputs": f"{name.upper()}_OUTPUTS"}),
        "unused": "    int i;\n\n" if net.loss.link != "identity" else "",
    }  # fmt: skip
    return fill(_SOURCE, names), fill(_HEADER, {**names, "link": net.loss.link})


def of_all(networks: Sequence[Network], name: str) -> dict[str, str]:
    """What the templates need to know of networks of one type; ValueError for what can't be said in C."""
    if not all(np.isfinite(value).all() for net in networks for value in net.parameters.values()):
        raise ValueError("the network has weights that are not finite; C has no constants for them")
    single = networks[0].dtype == np.float32
    kinds = dict.fromkeys(activation.name for net in networks for _, _, activation in _dense(net))
    return {
        "n": name, "N": name.upper(), "version": __version__, "real": "float" if single else "double",
        "paste": "##f" if single else "",
        "functions": "\n".join(_function(kind) for kind in kinds if kind != "identity"),
    }  # fmt: skip


def fill(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: names[match[1]], text)


def function_of(net: Network, i: int, code: dict[str, str]) -> str:
    """What the network predicts as a static function `net<i>`; `code` is its `layer_code`."""
    link = fill(LINKS[net.loss.link], {"outputs": str(net.n_outputs)})
    return fill(NETWORK, {**code, "i": str(i), "link": link})


def _dense(net: Network) -> list[tuple[int, Dense, Activation]]:
    """Place, description and activation of each dense layer."""
    last = len(net.descriptions) - 1
    return [
        (i, layer, layer_activation(layer, net.loss, last=i == last))
        for i, layer in enumerate(net.descriptions)
        if isinstance(layer, Dense)
    ]


def layer_code(net: Network, prefix: str = "") -> dict[str, str]:
    """Tables (`prefix` before their names), buffers and loops of all layers, and the bytes of stack."""
    dense = _dense(net)
    tables, loops = [], []
    source, widths = "x", [0, 0]
    for k, (i, layer, activation) in enumerate(dense):
        last = k == len(dense) - 1
        weights, biases = net.parameters[f"layers.{i}.weights"], net.parameters.get(f"layers.{i}.biases")
        tables.append(table(f"{prefix}w{k}", weights))
        tables += [] if biases is None else [table(f"{prefix}b{k}", biases)]
        target = "y" if last else "pq"[k % 2]
        if not last:
            widths[k % 2] = max(widths[k % 2], layer.units)
        first = "R(0.0)" if biases is None else f"{prefix}b{k}[j]"
        loops.append(f"""    for (j = 0; j < {layer.units}; j++)
        {target}[j] = {first};
    for (i = 0; i < {weights.shape[0]}; i++)
        for (j = 0; j < {layer.units}; j++)
            {target}[j] = CNN_FMA({source}[i], {prefix}w{k}[i][j], {target}[j]);
""")
        if activation.name != "identity":
            alpha = number(net.dtype.type(activation.value))
            loops[-1] += f"""    for (j = 0; j < {layer.units}; j++)
        {target}[j] = f_{activation.name}({target}[j], {alpha});
"""
        source = target
    buffers = [f"{letter}[{width}]" for letter, width in zip("pq", widths, strict=True) if width]
    return {
        "tables": "\n\n".join(tables), "layers": "\n".join(loops),
        "buffers": f"    real {', '.join(buffers)};\n" if buffers else "",
        "stack": f"{sum(widths) * net.dtype.itemsize + 64:,}",
    }  # fmt: skip


def _function(kind: str) -> str:
    body = _BODIES[kind]
    unused = "" if "alpha" in body else "    (void)alpha;\n"
    declarations, returned = body.rsplit("return", 1)
    return f"static real f_{kind}(real z, real alpha)\n{{\n    {declarations}{unused.strip()}".rstrip() + (
        f"\n    return{returned}\n}}\n"
    )


def table(name: str, array: Any, kind: str = "real") -> str:
    """A constant array, a row of the matrix a line."""
    size = "".join(f"[{n}]" for n in array.shape)
    rows = [", ".join(map(number, row)) for row in np.atleast_2d(array)]
    inner = ",\n".join(f"    {{{row}}}" if array.ndim == 2 else f"    {row}" for row in rows)
    return f"static const {kind} {name}{size} = {{\n{inner}\n}};"


def number(value: Any) -> str:
    return float(value).hex() + ("f" if value.dtype == np.float32 else "")


def texts(name: str, values: Sequence[str], where: str = "", kind: str = "") -> str:
    """A constant array of texts; ValueError, `where` at its beginning, for one that C can't hold."""
    inner = ",\n".join(f"    {_literal(text, where)}" for text in values)
    return f"{kind}const char *const {name}[{len(values)}] = {{\n{inner}\n}};\n\n"


def _literal(text: str, where: str) -> str:
    """A text of C: what is not a plain letter, digit or sign becomes three octal digits, so nothing can end it."""
    content = text.encode()
    if 0 in content:
        raise ValueError(f"{where}{text[:40]!r} has a zero byte, where a text of C ends")
    if len(content) > _LONGEST:
        raise ValueError(f"{where}{text[:40]!r}... has {len(content):,} bytes; C99 takes texts of {_LONGEST:,}")
    plain = (chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in content)
    return f'"{"".join(plain)}"'
