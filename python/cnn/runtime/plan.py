"""The plan: a network's layers as the structured arrays that the engine walks, and the sizes of its buffers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

import cnn_core
from cnn.layers import Layer, Shape
from cnn.losses import Loss
from cnn.optimizers import Optimizer
from cnn.runtime import products, sparse
from cnn.runtime.tiles import Tiles
from cnn.schedules import first_number

Spec = np.ndarray[Any, Any]
_WIDE_FLOPS = 2e6  # of a step in wide layers, for each thread: some 20 us, between barriers of 1 us
# Fields of a layer that say where something is, if it is anywhere.
_PLACES = (
    "weights", "biases", "frequencies", "phases", "edges", "inverses", "running_mean", "running_variance", "saved",
    "source",
)  # fmt: skip
_LINE = 16  # elements: every tensor and every buffer begins on a cache line, in float32 and in float64


def _round_up(n: int) -> int:
    return (n + _LINE - 1) // _LINE * _LINE


@dataclass(frozen=True)
class Plan:
    """Everything the engine needs to know of a network, from descriptions and sizes alone.

    `layers`, `segments`, `loss`, `optimizer` are the core's structs; `names` gives (offset, shape) of each parameter in
    an arena of `size` elements, `constants` are those that no gradient teaches; `columns` is the width of a workspace,
    whose buffers hold that many numbers a row. `shapes` are those of X and of each layer's output, without the rows.
    """

    layers: Spec
    segments: Spec
    loss: Spec
    optimizer: Spec
    names: dict[str, tuple[int, tuple[int, ...]]]
    size: int
    shapes: tuple[Shape, ...]
    n_outputs: int
    template: Spec
    constants: frozenset[str]

    @cached_property
    def without_input(self) -> Plan:
        """The plan for sparse rows, which are read where they are: nothing below the first dense layer has a buffer."""
        first = int(np.flatnonzero(self.layers["kind"] == cnn_core.LayerKind.DENSE)[0])
        if (self.layers["kind"][:first] != cnn_core.LayerKind.DROPOUT).any():
            raise ValueError("sparse X needs a cnn.Dense as the first layer, but for dropouts: give X.toarray()")
        if self.layers["branches"][: first + 1].any():
            raise ValueError("sparse X can't be what a residual block adds: give X.toarray()")
        layers, below = self.layers.copy(), int(self.layers["output"][first])
        layers["output"] -= below
        layers["saved"][layers["saved"] >= 0] -= below
        for name, value in (("n_units", 0), ("output", 0), ("saved", -1)):
            layers[name][:first] = value
        column = int(self.template["delta"][0]) - below
        widest = int(layers["n_units"].max())
        template = _workspace(column, self.n_inputs, self.n_outputs, widest, 0)
        template["input"] = -1
        return replace(self, layers=layers, template=template)

    def taking(self, X: Any) -> Plan:
        """The plan for such rows, dense or sparse; ValueError where the first layer can't read them."""
        if getattr(X, "stairs", None) is not None and self.layers["kind"][0] != cnn_core.LayerKind.DENSE:
            raise ValueError("compact rows need a cnn.Dense as the first layer: give X.to_scipy()")
        return self.without_input if sparse.is_sparse(X) else self

    def without_zeros(self, X: Spec | sparse.SparseRows) -> Spec | sparse.SparseRows:
        """X as a fit reads it: dense X with few numbers but zeros as sparse rows, which changes no bit."""
        first = self.layers[0]
        if first["kind"] != cnn_core.LayerKind.DENSE or first["by_blas"] or first["branches"]:
            return X
        return sparse.without_zeros(X, int(first["n_units"]))

    def flops_of_a_row(self, X: sparse.SparseRows) -> float:
        """Arithmetic of predicting a row of sparse X: of the first layer what the non-zeros take."""
        left_out = self.n_inputs - int(X.indptr[-1] - X.indptr[0]) / max(len(X), 1)
        return self.tiles.flops - 2.0 * self._first_units * left_out

    @cached_property
    def _first_units(self) -> int:
        """Units of the first dense layer."""
        return int(self.layers["n_units"][self.layers["kind"] == cnn_core.LayerKind.DENSE][0])

    @property
    def n_inputs(self) -> int:
        return math.prod(self.shapes[0])

    @property
    def columns(self) -> int:
        return int(self.template["columns"][0])

    @cached_property
    def uses_blas(self) -> bool:
        """Whether the core calls BLAS."""
        return bool(self.layers["by_blas"].any())

    @cached_property
    def over_rows(self) -> bool:
        """Whether a layer needs all rows of a minibatch at once while it trains."""
        return bool((self.layers["momentum"] > 0).any())

    @cached_property
    def work(self) -> float:
        """Multiply-adds of a row on its way forward: of each weight one, of a kernel's one for each pixel."""
        kernels = self.layers["window"][self.layers["kind"] == cnn_core.LayerKind.CONVOLUTION]
        terms = kernels["kernel_height"] * kernels["kernel_width"] * (kernels["channels"] // kernels["groups"])
        more = (kernels["out_height"] * kernels["out_width"] - 1.0) * terms * kernels["out_channels"]
        return float(self.size + more.sum())

    @property
    def slots(self) -> int:
        """Numbers of optimizer state for each parameter."""
        return cnn_core.engine.optimizer_slots(self.optimizer)

    def cut(self, rows: int) -> Cut:
        """How a minibatch of that many rows is shared out, from sizes alone."""
        wide, parts, capacity, shared, own = cnn_core.engine.cut(self.layers, self.template, rows)
        feeds = max(1, int(6.0 * self.work * rows / _WIDE_FLOPS)) if wide else parts
        return Cut(wide, parts, self.workspace(capacity), shared, own, feeds)

    def cut_like(self, other: Plan, rows: int) -> Cut:
        """How `other` cuts a minibatch, in workspaces of this plan: sums over a slab's rows have the same bits."""
        cut = other.cut(rows)
        return cut if other is self else replace(cut, workspace=self.workspace(cut.capacity))

    @cached_property
    def tiles(self) -> Tiles:
        """How rows are predicted."""
        image = len(self.shapes[0]) > 1
        return Tiles.of(self.layers, self.n_inputs if self.template["input"] >= 0 else 0, image, self.work)

    def workspace(self, capacity: int) -> Spec:
        """The layout of a workspace for slabs of up to `capacity` rows."""
        spec = self.template.copy()
        spec["capacity"] = _round_up(max(capacity, 1))
        return spec


@dataclass(frozen=True)
class Cut:
    """The parts of a minibatch: chunks of rows, each with a gradient of its own, or for `wide` layers the slabs.

    The engine needs scratch memory of `shared` elements and `own` for each thread; more threads than `feeds` idle.
    """

    wide: bool
    parts: int
    workspace: Spec
    shared: int
    own: int
    feeds: int

    @property
    def gradients(self) -> int:
        """How many gradients are kept at once."""
        return 1 if self.wide else self.parts

    @property
    def capacity(self) -> int:
        return int(self.workspace["capacity"][0])


def build(
    descriptions: Sequence[Layer],
    shape: int | Shape,
    loss: Loss,
    optimizer: Optimizer,
    by_blas: Sequence[int] | None = None,
) -> Plan:
    """The plan of a network whose inputs have that shape; `by_blas` says of each layer what else `products` decides."""
    shape = (shape,) if isinstance(shape, int) else shape
    layers = np.zeros(len(descriptions), cnn_core.layer_dtype)
    names: dict[str, tuple[int, tuple[int, ...]]] = {}
    segments: list[tuple[int, int, float, float, float, float, bool]] = []
    constants: set[str] = set()
    size, shapes, n_inputs = 0, [shape], math.prod(shape)
    column, below = _round_up(n_inputs), 0
    for i, (spec, layer) in enumerate(zip(layers, placed(descriptions, loss), strict=True)):
        spec["n_inputs"], spec["pixels"] = math.prod(shape), math.prod(shape[:-1])
        for name in _PLACES:
            spec[name] = -1
        layer.fill(spec, shape)
        if layer.reach:
            _branch(layers, i, layer, shapes)
        for parameter in layer.parameters(shape):
            spec[parameter.name] = size
            names[f"layers.{i}.{parameter.name}"] = (size, parameter.shape)
            decay = parameter.decay_factor * (optimizer.decay_biases if parameter.is_bias else 1.0)
            end = size + _round_up(math.prod(parameter.shape))
            rate = parameter.learning_rate_factor
            if parameter.values is not None:
                constants.add(f"layers.{i}.{parameter.name}")
                rate = decay = 0.0
            segments.append((size, end, rate, decay, parameter.l1, parameter.l2, parameter.running))
            size = end
        kept, shape = layer.kept(shape), layer.output_shape(shape)
        shapes.append(shape)
        width = math.prod(shape)
        spec["n_units"] = width
        flat = spec["kind"] == cnn_core.LayerKind.FLATTEN  # the same numbers in the same place
        spec["output"] = below if flat else column
        if by_blas is not None:
            spec["by_blas"] = by_blas[i]
        elif spec["kind"] == cnn_core.LayerKind.DENSE:
            spec["by_blas"] = products.by_blas(int(spec["n_inputs"]), width)
        column, below = column + (0 if flat else width), int(spec["output"])
        if kept:
            spec["saved"] = column
            column += kept
    for i in range(1, len(layers)):
        if _gates(layers[i - 1], layers[i]):
            layers["gated"][i - 1 : i + 1] = 1
    return Plan(
        layers=layers,
        segments=_merged(segments, optimizer),
        loss=loss.spec(width),
        optimizer=optimizer.spec(),
        names=names,
        size=size,
        shapes=tuple(shapes),
        n_outputs=width,
        template=_workspace(
            column, n_inputs, width, max(n_inputs, int(layers["n_units"].max()), _turned(layers)),
            cnn_core.engine.room(layers),
        ),
        constants=frozenset(constants),
    )


def _gates(below: Any, pool: Any) -> bool:
    """Whether no gradient comes to where the ReLU below is 0: the pooling then does on its way back what ReLU would.

    Not where a residual block adds what the pooling reads: that is a gradient that ReLU must see.
    """
    return bool(
        pool["kind"] == cnn_core.LayerKind.MAX_POOL
        and not pool["branches"]
        and below["kind"] == cnn_core.LayerKind.CONVOLUTION
        and below["activation"] == cnn_core.Activation["RELU"]
    )


def _branch(layers: Spec, i: int, layer: Layer, shapes: Sequence[Shape]) -> None:
    """Lets layer i read what an earlier one reads as well; ValueError where the two are not of one shape."""
    source = i - layer.reach
    layers["source"][i] = source
    layers["branches"][source] += 1
    if shapes[i] == shapes[source]:
        return
    if len(shapes[i]) > 1 or len(shapes[source]) > 1:
        raise ValueError(
            f"layer {i}, {layer!r}, adds images of shape {shapes[source]}, which layer {source} reads, to {shapes[i]}: "
            "a residual block must give what it gets"
        )
    raise ValueError(
        f"layer {i}, {layer!r}, adds {layers['n_inputs'][source]} numbers, which layer {source} reads, to "
        f"{layers['n_inputs'][i]}: a residual block must give as many units as it gets"
    )


def placed(descriptions: Sequence[Layer], loss: Loss) -> list[Layer]:
    """The layers as the engine sees them in a network with that loss; ValueError where one can't stand in its place."""
    last = len(descriptions) - 1
    return [layer if layer.is_open else layer.placed(loss, last=i == last) for i, layer in enumerate(descriptions)]


def check_range(layer: Layer, loss: Loss, targets: Any) -> str:
    """What is wrong with the activation of the last layer: its values can't be what the loss or the targets want."""
    activation = layer.placed(loss, last=True).function
    low, high = activation.range
    if low == -np.inf or (loss.margins and low <= -1 and high >= 1):
        return ""
    if loss.raw:
        return (
            f"{loss.name} takes raw outputs, and {activation.name} of the last layer holds them within "
            f"[{low:g}, {high:g}]: leave the activation out"
        )
    if targets is not None and targets.size and (targets.min() < low or targets.max() > high):
        return (
            f"targets reach from {targets.min():g} to {targets.max():g}, and {activation.name} of the last layer gives "
            f"numbers within [{low:g}, {high:g}] alone"
        )
    return ""


def _turned(layers: Spec) -> int:
    """How many numbers a row the deltas of a line of pixels are, turned into whole vectors of filters."""
    window = layers["window"]
    filters = window["out_channels"] // np.maximum(window["groups"], 1)
    return int((window["out_width"] * (filters + _LINE)).max())


def _workspace(column: int, n_inputs: int, n_outputs: int, widest: int, room: int) -> Spec:
    spec = np.zeros(1, cnn_core.workspace_dtype)
    widest = _round_up(widest)  # the deltas are also turned into rows there, and rows are whole vectors
    widths = {
        "delta": widest, "delta_next": widest, "target": n_outputs, "value": n_outputs, "weight": 1, "room": room,
    }  # fmt: skip
    for name, width in widths.items():
        spec[name] = column
        column += width
    spec["columns"] = column
    return spec


def _merged(segments: list[tuple[int, int, float, float, float, float, bool]], optimizer: Optimizer) -> Spec:
    """Neighbours that are updated alike become one segment: small networks are then one block."""
    decays = first_number(optimizer.weight_decay) > 0
    merged: list[list[Any]] = []
    for begin, end, rate, decay, l1, l2, running in segments:
        alike = [rate, decay if decays else 1.0, l1, l2, running]
        if merged and merged[-1][2:] == alike:
            merged[-1][1] = end
        else:
            merged.append([begin, end, *alike])
    return np.array([tuple(m) for m in merged], cnn_core.segment_dtype)
