"""Passes of checked rows through a network, one at a time: outputs, loss and gradient, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import cnn_core
from cnn import arena, threads
from cnn.data import Array, Data

if TYPE_CHECKING:
    from cnn.network import Network

# Arithmetic of one call into the core while predicting: Ctrl-C is looked at between two of them.
_PIECE_FLOPS = 1e9
_COLUMN_FLOPS = 20.0  # what an activation may take, in the time of so much arithmetic
# `backward` keeps a gradient of wide layers for at most so many parts of the rows.
_MAX_GRADIENTS = 4


def outputs(net: Network, X: Array, *, link: bool, n_threads: int | None = None) -> Array:
    """(n, n_outputs), with the loss's output link or raw, in pieces of some ten milliseconds."""
    plan = net.plan
    out = np.empty((len(X), net.n_outputs), net.dtype)
    flops = 2.0 * plan.size + _COLUMN_FLOPS * plan.columns
    workspace = plan.cut(256).workspace
    capacity = int(workspace["capacity"][0])
    n = threads.for_prediction(n_threads, flops * len(X), -(-len(X) // capacity))
    scratch = arena.aligned_zeros(n * plan.columns * capacity, net.dtype)
    piece = max(int(_PIECE_FLOPS / flops) // (n * capacity), 1) * n * capacity
    kind = net.loss.kind if link else -1
    with threads.one_blas_thread():
        for begin in range(0, len(X), piece):
            cnn_core.engine.predict(plan.layers, workspace, net.flat, scratch, X[begin : begin + piece],
                                    out[begin : begin + piece], kind, n)  # fmt: skip
    return out


def loss_and_gradient(net: Network, rows: Data, training: bool, n_threads: int | None) -> tuple[float, Array]:
    """Mean loss with penalties over all rows, and its gradient in the layout of `net.flat`."""
    plan, cut = net.plan, net.plan.cut(len(rows))
    n = threads.for_prediction(n_threads, 6.0 * plan.size * len(rows), cut.feeds)
    gradients = arena.aligned_zeros(cut.gradients * plan.size, net.dtype)
    scratch = arena.aligned_zeros(cut.shared + n * cut.own, net.dtype)
    with threads.one_blas_thread():
        loss, penalty = cnn_core.engine.loss_and_gradient(
            plan.layers, cut.workspace, cut.wide, cut.parts, plan.segments, plan.loss, net.flat, gradients, scratch,
            rows.X, rows.targets, rows.classes, rows.weights, training, net.step, net.seed, n,
        )  # fmt: skip
    return loss + penalty, gradients[: plan.size].copy()


@dataclass(frozen=True)
class Tape:
    """What a forward pass leaves for the way back."""

    X: Array
    scratch: Array
    workspace: Any
    parts: int
    training: bool
    n_threads: int


def forward(net: Network, X: Array, training: bool, n_threads: int | None) -> tuple[Array, Tape]:
    """Raw outputs (n, n_outputs), and the tape."""
    plan, cut = net.plan, net.plan.cut(max(len(X), 1))
    parts = min(cut.parts, _MAX_GRADIENTS) if cut.wide else cut.parts
    workspace = plan.workspace(-(-len(X) // parts))
    scratch = arena.aligned_zeros(parts * plan.columns * int(workspace["capacity"][0]), net.dtype)
    n = threads.for_prediction(n_threads, 2.0 * plan.size * len(X), parts)
    out = np.empty((len(X), net.n_outputs), net.dtype)
    if len(X):
        with threads.one_blas_thread():
            cnn_core.engine.forward(plan.layers, workspace, net.flat, scratch, X, out, parts, training, net.step + 1,
                                    net.seed, n)  # fmt: skip
    return out, Tape(X, scratch, workspace, parts, training, n)


def backward(net: Network, tape: Tape, dout: Array) -> tuple[Array, Array]:
    """dL/dX (n, n_inputs), and the parameters' gradient in the layout of `net.flat`."""
    plan = net.plan
    dX = np.zeros((len(tape.X), net.n_inputs), net.dtype)
    gradients = arena.aligned_zeros(tape.parts * plan.size, net.dtype)
    if len(tape.X):
        with threads.one_blas_thread():
            cnn_core.engine.backward(plan.layers, tape.workspace, net.flat, gradients, tape.scratch, tape.X, dout, dX,
                                     tape.training, tape.n_threads)  # fmt: skip
    return dX, gradients[: plan.size].copy()
