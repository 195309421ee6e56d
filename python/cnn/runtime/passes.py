"""Passes of checked rows through a network, one at a time: outputs, loss and gradient, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import cnn_core
from cnn import schedules
from cnn._common import checks, images, interrupt, threads
from cnn.runtime import arena, sparse
from cnn.runtime.data import Array, Data
from cnn.runtime.plan import Cut, Plan
from cnn.runtime.sparse import SparseRows
from cnn.runtime.state import NetworkState, make_predictor
from cnn.runtime.tiles import LEFT_OUT

# Arithmetic of one call into the core while predicting, if large networks don't want more rows at once: Ctrl-C is
# looked at between two of them.
_PIECE_FLOPS = 1e9
# From so many bytes on the core works in memory that all of these calls share: its pages are new but once.
_LARGE = 1 << 20
# `backward` keeps a gradient of wide layers for at most so many parts of the rows.
_MAX_GRADIENTS = 4


@checks.quiet
def predict(net: NetworkState, X: Any, out: Array | None, n_threads: int | None) -> Array:
    """What `Network.predict` gives, for any X and `out` that it takes."""
    X = sparse.features("X", X, net.dtype, net.inputs, look_for_nan=False)
    if n_threads is not None:
        checks.integer("n_threads", n_threads, 1)
    return _predict_rows(net, X, out, n_threads)


def _predict_rows(net: NetworkState, X: Array | SparseRows, out: Array | None, n_threads: int | None) -> Array:
    """The same of rows whose type and shape have been checked."""
    flat = net.one_dimensional
    if (few := net.predictor.few(X, out, flat)) is not None:  # it had another type or order before the check
        return few
    if out is None:
        y = outputs(net, X, link=True, n_threads=n_threads)
        return y[:, 0] if flat else y
    checks.output("out", out, net.dtype, (len(X),) if flat else (len(X), net.n_outputs))
    if not isinstance(X, SparseRows):
        checks.finite("X", X)  # before anything is written
    if np.may_share_memory(X.values if isinstance(X, SparseRows) else X, out):
        X = X[np.arange(len(X))]  # a copy, of the numbers or of the non-zeros
    outputs(net, X, link=True, n_threads=n_threads, out=out)
    return out


predict_rows = checks.quiet(_predict_rows)  # for those who don't come by `predict`


def classes(net: NetworkState, X: Any, n_threads: int | None) -> Array:
    """What `Network.predict_classes` gives."""
    if not net.loss.for_classes:
        raise ValueError(f"predict_classes needs a loss for classes; this network was made with {net.loss.name!r}")
    p = predict(net, X, None, n_threads)
    if net.loss.one_class:
        return p.argmax(axis=1)
    return np.where(p > 0, 1, -1) if net.loss.margins else (p > 0.5).astype(np.int64)


def predictor_of(net: NetworkState, plan: Plan) -> Any:
    """The core's `Predictor` for rows of that plan, the network's or that of sparse rows."""
    if plan is net.plan:
        return net.predictor
    return make_predictor(plan, net.flat, net.loss)


def outputs(
    net: NetworkState, X: Array | SparseRows, *, link: bool, n_threads: int | None = None, out: Array | None = None
) -> Array:
    """(n, n_outputs), with the loss's output link or raw, in pieces of some ten milliseconds.

    An X that is not finite is an error.
    """
    plan, rows, dense = net.plan.taking(X), len(X), not isinstance(X, SparseRows)
    predictor = predictor_of(net, plan)
    flops = plan.flops_of_a_row(X) if isinstance(X, SparseRows) else plan.tiles.flops
    if out is None:
        out = np.empty((rows, plan.n_outputs), net.dtype)
    n = threads.for_prediction(n_threads, flops * rows, predictor.parts(rows, dense))
    share = plan.tiles.rows * n
    piece = max(int(_PIECE_FLOPS / flops) // share, predictor.at_once) * share

    long = flops * min(piece, rows) > interrupt.LONG_FLOPS
    size = predictor.bytes(min(piece, rows), dense, n, rows)
    memory = arena.aligned_empty(size, np.uint8) if size > _LARGE else None

    def fill() -> None:
        for begin in range(0, rows, piece):
            end = begin + piece
            work = partial(predictor.many, X[begin:end], out[begin:end], link, n, memory=memory, of=rows)
            if not (interrupt.interruptible(work) if long else work()):
                assert not isinstance(X, SparseRows)  # they have been looked at
                checks.finite("X", X)

    threads.without_blas_threads(plan.uses_blas, fill)
    return out


@checks.quiet
def loss_and_gradient(net: NetworkState, rows: Data, training: bool, n_threads: int | None) -> tuple[float, Array]:
    """Mean loss with penalties over all rows, and its gradient in the layout of `net.flat`."""
    plan = net.plan.taking(rows.X)
    cut, flops = plan.cut(len(rows)), 6.0 * plan.size * len(rows)
    n = threads.for_prediction(n_threads, flops, cut.feeds)
    memory = step_buffers(net, plan, cut, n)
    found = partial(whole(memory, rows.X, rows).loss_and_gradient, training, n)
    loss, penalty = threads.without_blas_threads(plan.uses_blas, partial(interrupt.promptly, flops, found))
    return loss + penalty, memory.gradients[: plan.size].copy()


@dataclass(frozen=True)
class Buffers:
    """The arrays that the C API works on (`describe` in cnn_core/model.pxd): the network's own, and memory to work in.

    Minibatches are cut by `workspace`, as in a fit; `slab` holds all rows at once, for forward and backward.
    """

    rows: int
    wide: bool
    n_chunks: int
    seed: int
    layers: Array
    workspace: Array
    slab: Array
    segments: Array
    loss: Array
    optimizer: Array
    parameters: Array
    gradients: Array
    state: Array
    scalars: Array
    counter: Array
    sums: Array
    scratch: Array


def buffers(net: NetworkState, rows: int) -> Buffers:
    """Those of one thread, for up to `rows` rows."""
    return step_buffers(net, net.plan, net.plan.cut(rows), 1, rows)


def step_buffers(net: NetworkState, plan: Plan, cut: Cut, n_threads: int, rows: int = 0) -> Buffers:
    """Those of a team that trains on minibatches cut like that; `slab` is for `rows` rows."""
    slab = plan.workspace(rows)
    scratch = max(cut.shared + n_threads * cut.own, plan.columns * int(slab["capacity"][0]))
    if rows:  # a few of them may be predicted
        scratch = max(scratch, net.predictor.few_elements)
    return Buffers(
        rows=rows, wide=cut.wide, n_chunks=cut.parts, seed=net.seed, layers=plan.layers, workspace=cut.workspace,
        slab=slab, segments=plan.segments, loss=plan.loss, optimizer=plan.optimizer, parameters=net.flat,
        gradients=arena.aligned_zeros(plan.size * cut.gradients, net.dtype), state=net.state_of(plan),
        scalars=net.scalars, counter=net.counter, scratch=arena.aligned_zeros(scratch, net.dtype),
        sums=np.zeros(cnn_core.engine.sums_of_a_step(plan.segments, cut.parts)),
    )  # fmt: skip


def whole(memory: Buffers, X: Array | SparseRows, rows: Data) -> Any:
    """The core's `Training` on all rows as one minibatch, X being read like that."""
    return cnn_core.engine.Training(memory, X, rows, len(rows), np.zeros((1, 3)))


@dataclass(frozen=True)
class Tape:
    """What a forward pass leaves for the way back."""

    X: Array | SparseRows
    scratch: Array
    workspace: Any
    parts: int
    training: bool
    step: int
    n_threads: int


@checks.quiet
def forward(net: NetworkState, X: Any, training: bool, n_threads: int | None) -> tuple[Array, Tape]:
    """Raw outputs (n, n_outputs), and the tape, for any X that `Network.forward` takes."""
    X = sparse.features("X", X, net.dtype, net.inputs)
    plan = net.plan.taking(X)
    cut = plan.cut(max(len(X), 1))
    parts = min(1 << cut.parts.bit_length() - 1, _MAX_GRADIENTS) if cut.wide else cut.parts  # a power of two
    parts = 1 if training and plan.over_rows else parts
    workspace = plan.workspace(-(-len(X) // parts))
    scratch = arena.aligned_zeros(parts * plan.columns * int(workspace["capacity"][0]), net.dtype)
    n = threads.for_prediction(n_threads, 2.0 * plan.size * len(X), parts)
    out = np.empty((len(X), net.n_outputs), net.dtype)
    if len(X):
        pass_ = partial(
            cnn_core.engine.forward, plan.layers, workspace, net.flat, scratch, X, out, parts, training, net.step + 1,
            net.seed, n,
        )  # fmt: skip
        threads.without_blas_threads(plan.uses_blas, partial(interrupt.promptly, 2.0 * plan.size * len(X), pass_))
    return out, Tape(X, scratch, workspace, parts, training, net.step + 1, n)


@checks.quiet
def backward(net: NetworkState, tape: Tape, dout: Array) -> tuple[Array | None, Array]:
    """dL/dX, shaped as X (None for sparse X), and the parameters' gradient in the layout of `net.flat`."""
    plan = net.plan.taking(tape.X)
    dX = None if isinstance(tape.X, SparseRows) else np.zeros(tape.X.shape, net.dtype)
    gradients = arena.aligned_zeros(tape.parts * plan.size, net.dtype)
    if len(tape.X):
        to = None if dX is None else dX.reshape(len(dX), -1)
        pass_ = partial(
            cnn_core.engine.backward, plan.layers, tape.workspace, net.flat, gradients, tape.scratch, tape.X, dout, to,
            tape.training, tape.step, net.seed, tape.n_threads,
        )  # fmt: skip
        threads.without_blas_threads(plan.uses_blas, partial(interrupt.promptly, 4.0 * plan.size * len(tape.X), pass_))
    return dX, gradients[: plan.size].copy()


@checks.quiet
def update(net: NetworkState, gradients: Mapping[str, Any], learning_rate: float | None) -> None:
    """What `Network.update` does."""
    plan = net.plan
    flat = arena.aligned_zeros(plan.size, net.dtype)
    for name, view in arena.views(flat, plan.names).items():
        if name not in gradients:
            raise ValueError(f"no gradient for {name}; there must be one for {', '.join(plan.names)}")
        value = checks.numeric(name, gradients[name], net.dtype)
        if value.shape != view.shape:
            raise ValueError(f"the gradient for {name} must have shape {view.shape}, got {value.shape}")
        checks.finite(f"the gradient for {name}", value)
        view[...] = value
    if learning_rate is None:
        schedule = schedules.get(net.optimizer.learning_rate)
        if schedule.of_a_fit:
            raise ValueError(f"{schedule!r} is known within a fit alone: give update(gradients, learning_rate)")
        rate = float(schedule.rates(net.step, 1, 1, net.step + 1)[0]) * net.rate_factor
    else:
        rate = checks.number("learning_rate", learning_rate, 0)
    optimizer, decay = plan.optimizer, net.optimizer.weight_decay
    if isinstance(decay, schedules.Schedule):
        if decay.of_a_fit:
            raise ValueError(f"{decay!r} is known within a fit alone: update needs a weight_decay that is a number")
        optimizer = optimizer.copy()
        optimizer["weight_decay"] = decay.rates(net.step, 1, 1, net.step + 1)
    cnn_core.engine.clip(optimizer, plan.segments, flat)
    cnn_core.engine.optimizer_update(
        optimizer, plan.segments, net.flat, flat, net.state_of(plan), net.scalars, net.step + 1, rate
    )
    net.counter += 1


@dataclass(frozen=True)
class LayerPass:
    """What a forward pass leaves of one layer: its outputs (n, units), and what the slope of f is taken from.

    `back` takes dL/d(outputs) to dL/d(inputs), but for what a residual block that begins there adds.
    """

    outputs: Array
    kept: Array
    back: Callable[[Array], Array]


@checks.quiet
def layer_passes(net: NetworkState, X: Array | SparseRows) -> list[LayerPass | None]:
    """What each layer makes of checked rows, without dropout; None for one that prediction leaves out."""
    plan = net.plan.taking(X)
    workspace = plan.workspace(len(X))
    capacity = int(workspace["capacity"][0])
    scratch = arena.aligned_zeros(plan.columns * capacity, net.dtype)
    out = np.empty((len(X), net.n_outputs), net.dtype)
    pass_ = partial(
        cnn_core.engine.forward, plan.layers, workspace, net.flat, scratch, X, out, 1, False, 0, net.seed, 1
    )
    if len(X):
        threads.without_blas_threads(plan.uses_blas, partial(interrupt.promptly, 2.0 * plan.size * len(X), pass_))
    stride = cnn_core.engine.row_stride(len(X), net.flat)

    def buffer(column: int, width: int) -> Array:
        """(n, width) of a slab, which is stored by features."""
        return scratch[column * capacity : column * capacity + width * stride].reshape(width, stride)[:, : len(X)].T

    def back(i: int, below: int, dout: Array) -> Array:
        alone, here = plan.layers[i : i + 1].copy(), workspace.copy()
        alone["branches"], alone["gated"], here["input"] = 0, 0, below
        dX = np.zeros((len(X), int(alone["n_inputs"][0])), net.dtype)
        gradients = arena.aligned_zeros(plan.size, net.dtype)
        cnn_core.engine.backward(alone, here, net.flat, gradients, scratch, dX, dout, dX, False, 0, net.seed, 1)
        return dX

    found: list[LayerPass | None] = []
    below = int(workspace["input"][0])
    for i, spec in enumerate(plan.layers):
        if spec["kind"] in LEFT_OUT:
            found.append(None)
            continue
        units = int(spec["n_units"])
        outputs = buffer(int(spec["output"]), units)
        kept = outputs if spec["saved"] < 0 else buffer(int(spec["saved"]), units)
        found.append(LayerPass(outputs, kept, partial(back, i, below)))
        below = int(spec["output"])
    return found


def layer_outputs(net: NetworkState, X: Any) -> list[Array]:
    """What `Network.layer_outputs` gives: a layer that prediction leaves out passes on what it gets."""
    X = sparse.features("X", X, net.dtype, net.inputs)
    outputs: list[Array] = []
    for passed, shape in zip(layer_passes(net, X), net.plan.shapes[1:], strict=True):
        below = outputs[-1] if outputs else X
        found = np.ascontiguousarray(passed.outputs) if passed else _dense_copy(below, net.dtype)
        outputs.append(found.reshape(len(X), *shape))
    return outputs


def _dense_copy(X: Array | SparseRows, dtype: np.dtype[Any]) -> Array:
    return np.array(X.to_scipy().todense()) if isinstance(X, SparseRows) else images.scaled(X, dtype).copy()
