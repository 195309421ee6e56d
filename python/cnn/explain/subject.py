"""What is explained: the networks of a model, what they are fed with and what is made of their outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from cnn._common import checks, images
from cnn.explain import links
from cnn.explain.embedded import Embedded
from cnn.layers import CategoryEmbedding
from cnn.network import Network
from cnn.runtime import passes, sparse
from cnn.runtime.sparse import SparseRows
from cnn.table import TableModel, frames
from cnn.table import given as tables
from cnn.table.targets import each_name

Array = np.ndarray[Any, Any]
Numbers: TypeAlias = float | Array  # of all outputs, or (outputs,)


@dataclass(frozen=True)
class Subject:
    """The mean over `networks` of link(raw outputs) * factor + shift, held within [low, high]; these for each output.

    With an `offset` it is exp of that less the offset, held within the same.

    Args:
        inputs: for each network the columns of X that it takes, None for all.
        feature_names: of what shares are given to. In the order `order` of the columns of X, those of each lie
            together, from `begin` on.
        output_names: one for each output.
        read: (X in the networks' type, the features as they are shown) of what a user gives under a name; X of a table
            may be in short. `rows`: X of a frame, of a table.
        bent: how many columns that a network takes go through relu before it.
        shape: of an image (or a signal), whose numbers a row of X has one after another; of rows of numbers empty.
    """

    networks: Sequence[Network]
    inputs: Sequence[Array | None]
    link: str
    feature_names: tuple[str, ...]
    order: Array
    begin: Array
    output_names: tuple[str, ...]
    read: Callable[[str, Any], tuple[Array | SparseRows, Array]]
    factor: Numbers = 1.0
    shift: Numbers = 0.0
    low: Numbers = -math.inf
    high: Numbers = math.inf
    offset: Numbers | None = None
    rows: Callable[[Any], Array | SparseRows] | None = None
    bent: int = 0
    shape: tuple[int, ...] = ()

    @property
    def n_inputs(self) -> int:
        """How many columns X has."""
        return max([int(i.max()) + 1 for i in self.inputs if i is not None] + [net.n_inputs for net in self.networks])

    def chosen(self, output: int | None) -> list[int]:
        """The outputs that are asked for."""
        every = len(self.output_names)
        return list(range(every)) if output is None else [checks.integer("output", output, 0, every - 1)]

    def check_slopes(self) -> None:
        """Refuses networks whose outputs jump with an input: there is no path on which slopes add up."""
        if any(isinstance(layer, CategoryEmbedding) for net in self.networks for layer in net.descriptions):
            raise ValueError(
                "a network with a CategoryEmbedding has no slopes by its categories, along which gradients could be "
                "integrated; partial_dependence takes it"
            )

    def outputs(self, X: Array | SparseRows, n_threads: int | None) -> Array:
        """(n, outputs) float64."""
        total = np.zeros((len(X), len(self.output_names)))
        for net, columns in zip(self.networks, self.inputs, strict=True):
            rows = self._taken(X, columns)
            total += links.value(self.link, passes.outputs(net, rows, link=False, n_threads=n_threads))
        total *= np.divide(self.factor, len(self.networks))
        total += self.shift
        if self.offset is not None:
            total = np.exp(total) - self.offset
        return np.clip(total, self.low, self.high, out=total)

    def _taken(self, X: Array | SparseRows, columns: Array | None) -> Array | SparseRows:
        """What a network takes."""
        if self.shape:
            return dense(X).reshape(len(X), *self.shape)
        if columns is None:
            return X
        rows: Array = np.ascontiguousarray(dense(X)[:, columns])
        rows[:, : self.bent] = np.maximum(rows[:, : self.bent], 0)
        return rows

    def gradients(self, X: Array, outputs: Sequence[int], n_threads: int | None) -> Array:
        """(outputs, n, inputs) float64: d output / dX of these outputs at each row."""
        total, values = np.zeros((len(outputs), *X.shape)), np.zeros((len(outputs), len(X)))
        for net, columns in zip(self.networks, self.inputs, strict=True):
            rows = self._taken(X, columns)
            z, tape = passes.forward(net, rows, False, n_threads)
            y = links.value(self.link, z)
            for i, output in enumerate(outputs):
                dz = links.slope(self.link, z, y, output).astype(net.dtype)
                dX, _ = passes.backward(net, tape, dz)
                assert dX is not None
                if self.bent:
                    dX[:, : self.bent] *= dense(rows)[:, : self.bent] > 0
                dX = dX.reshape(len(X), -1)
                total[i][:, slice(None) if columns is None else columns] += dX
                values[i] += y[:, output]
        offset = 0.0 if self.offset is None else self.offset
        factor, shift, low, high, offset = (
            np.broadcast_to(part, len(self.output_names))[list(outputs), None]
            for part in (np.divide(self.factor, len(self.networks)), self.shift, self.low, self.high, offset)
        )
        values = values * factor + shift
        total *= factor[..., None]
        if self.offset is not None:
            values = np.exp(values)
            total *= values[..., None]
            values -= offset
        total[(values < low) | (values > high)] = 0
        return total


def dense(X: Array | SparseRows, some: slice = slice(None)) -> Array:
    """Neighbours among the rows, with all their inputs."""
    found: Array = X[some].to_scipy().toarray() if isinstance(X, SparseRows) else X[some]
    return found


def of(model: Any, raw: bool) -> Subject:
    """The subject of any model of the package; `raw` leaves out the link."""
    checks.flag("raw", raw)
    if isinstance(model, Network):
        return _network(model, raw) if isinstance(model.inputs, int) else _images(model, raw)
    if isinstance(model, TableModel):
        return _table(model, raw)
    if hasattr(type(model), "networks_") or hasattr(type(model), "network_"):
        return _estimator(model, raw)
    if hasattr(type(model), "images"):
        return _images(model, raw)
    raise TypeError(
        "model must be a cnn.Network, an estimator, an ensemble, a cnn.TableModel or a cnn.ImageClassifier, got "
        f"{type(model).__name__}"
    )


def _network(net: Network, raw: bool) -> Subject:
    n = net.n_inputs
    names = tuple(f"x{i}" for i in range(n))

    def read(name: str, X: Any) -> tuple[Array, Array]:
        _refuse_sparse(name, X)
        X = checks.features(name, X, net.dtype, n)
        return X, X

    each = np.arange(n)
    link = "identity" if raw else net.loss.link
    return Subject([net], [None], link, names, each, each, _numbered(net.n_outputs), read)


def _images(model: Any, raw: bool) -> Subject:
    """Of a `Network` that reads images or signals, or of an `ImageClassifier`."""
    fitted = not isinstance(model, Network)
    net: Network = model._fitted() if fitted else model
    shape, takes = net.input_shape, net.inputs
    assert isinstance(takes, images.Images)

    def read(name: str, X: Any) -> tuple[Array, Array]:
        _refuse_sparse(name, X)
        found = images.features(name, model.images(X) if fitted else X, net.dtype, takes)
        return images.scaled(found, net.dtype).reshape(len(found), -1), found

    outputs = tuple(map(str, model.classes_)) if fitted else _numbered(net.n_outputs)
    each = np.arange(net.n_inputs)
    link = "identity" if raw else net.loss.link
    return Subject([net], [None], link, (), each, each, outputs, read, shape=shape)


def _numbered(outputs: int) -> tuple[str, ...]:
    return ("prediction",) if outputs == 1 else tuple(f"output {i}" for i in range(outputs))


def _estimator(model: Any, raw: bool) -> Subject:
    from cnn.sklearn.compat import validate_data

    networks = model.networks_ if hasattr(type(model), "networks_") else [model.network_]
    dtype, n, loss = networks[0].dtype, int(model.n_features_in_), networks[0].loss
    inputs = [None if len(c) == n else c for c in getattr(model, "estimators_features_", [range(n)])]
    classes = getattr(model, "classes_", None)
    several = networks[0].n_outputs
    link = loss.link
    if classes is not None and link == "sigmoid" and several > 1 and model._task != "multilabel":
        link = "shares"
    outputs = _numbered(several) if classes is None else tuple(map(str, classes[-1:] if several == 1 else classes))

    def read(name: str, X: Any) -> tuple[Array, Array]:
        _refuse_sparse(name, X)
        X = validate_data(model, X, dtype=dtype, order="C", reset=False)
        return X, X

    given = getattr(model, "feature_names_in_", None)
    names = tuple(f"x{i}" for i in range(n)) if given is None else tuple(map(str, given))
    each = np.arange(n)
    return Subject(networks, inputs, "identity" if raw else link, names, each, each, outputs, read)


def _table(model: TableModel, raw: bool) -> Subject:
    encoder, goal = model.encoder, model.goal
    nets: Sequence[Network] = model.networks
    behind = Embedded(encoder, nets) if encoder.embedded else None
    rows: Callable[[Any], Array | SparseRows] = behind.rows if behind else encoder.features
    names, places = tuple(encoder.places), list((behind or encoder).places.values())
    order, begin = np.concatenate(places), np.cumsum([0, *map(len, places[:-1])])

    def read(name: str, data: Any) -> tuple[Array | SparseRows, Array]:
        frame = tables.frame(data, encoder.names, name)
        shown = frames.pandas().concat([frames.column(frame, column, name) for column in names], axis=1)
        return rows(frame), shown.astype(object).where(shown.notna(), np.nan).to_numpy()

    outputs = each_name(goal.name) if goal.task == "regression" else tuple(map(str, model.classes))
    link = nets[0].loss.link
    scale, shift, low, high = (
        np.array([getattr(one, part) for one in goal.each]) for part in ("deviation", "mean", "low", "high")
    )  # 1, 0 and no bounds of classes
    if raw:
        low, high = np.full(len(low), -np.inf), np.full(len(low), np.inf)
    if raw and link == "exp":  # networks give multiples of a mean, whose logarithm is added to theirs
        scale, shift = np.ones(len(scale)), np.log(scale)
    offset = np.array([one.offset for one in goal.each]) if goal.logarithmic and not raw else None
    return Subject(
        behind.networks if behind else nets, behind.inputs if behind else [None] * len(nets),
        "identity" if raw else link, names, order, begin, outputs[-nets[0].n_outputs :], read, scale, shift, low, high,
        offset, rows, behind.bent if behind else 0,
    )  # fmt: skip


def _refuse_sparse(name: str, X: Any) -> None:
    if sparse.is_sparse(X):
        raise TypeError(f"{name} is sparse; explanations need a dense array: {name}.toarray()")
