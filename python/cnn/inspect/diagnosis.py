"""What goes on inside a network: saturated and dead units, gradients by layer, overfitting; a check of gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import cnn_core
from cnn._common import checks, html_tables, images
from cnn.inspect import reports
from cnn.runtime import data, evaluation, passes, sizes
from cnn.runtime.data import Array, Data
from cnn.runtime.history import History
from cnn.runtime.sparse import SparseRows
from cnn.runtime.state import NetworkState

# Functions that are flat on both sides: a unit out there hardly learns. The largest slope of each.
_SATURATING = {"SIGMOID": 0.25, "TANH": 1.0, "SOFTSIGN": 1.0, "HARD_SIGMOID": 1 / 6, "HARD_TANH": 1.0}
_FLAT = 0.05  # of the largest slope
_MANY_SATURATED, _MANY_DEAD, _FOLD = 0.5, 0.1, 1000.0
_WORSE, _MUCH_WORSE = 1.05, 1.3
_CURES = "Stop early (cnn.EarlyStopping), add cnn.Dropout, l1, l2 or weight_decay, take fewer units, or more data."
_NOTHING = "Nothing stands out: units respond and gradients reach every layer."


@dataclass(frozen=True)
class LayerSignals:
    """One dense layer: shares of saturated outputs and of dead units, root mean squares of outputs and gradients."""

    name: str
    activation: str
    saturated: float
    dead: float
    output: float
    gradient: float
    weight_gradient: float


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` has found; it prints as a table with sentences below it.

    Args:
        layers: for each dense layer its name, shares of saturated outputs and dead units, and sizes of outputs and
            gradients.
        advice: sentences that say what to change.

    >>> Diagnosis((), ("Nothing stands out.",)).advice[0]
    'Nothing stands out.'
    """

    layers: tuple[LayerSignals, ...]
    advice: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([reports.table(self._rows(), right=5), *(f"- {sentence}" for sentence in self.advice)])

    def _repr_html_(self) -> str:
        return html_tables.table(self._rows()) + html_tables.listed(self.advice)

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [
            ("layer", "activation", "saturated", "dead", "rms output", "rms gradient", "|dL/dW|")
        ]
        rows += [
            (s.name, s.activation, f"{s.saturated:.0%}", f"{s.dead:.0%}", f"{s.output:.2e}", f"{s.gradient:.2e}",
             f"{s.weight_gradient:.2e}")
            for s in self.layers
        ]  # fmt: skip
        return rows


@checks.quiet
def diagnose(
    net: NetworkState, X: Any, y: Any, sample_weight: Any = None, *, validation_data: tuple[Any, ...] | None = None,
    max_rows: int = 2048,
) -> Diagnosis:  # fmt: skip
    """Looks at each layer on these rows and says what to change, if anything.

    Saturated: the share of outputs of a sigmoid-like function where its slope is below 5 % of its largest. Dead: the
    share of units whose slope is that small on every row. Gradients: dL/dz of each layer, of the mean loss.
    Sizes: columns of X, and targets of a loss without a link, of a root mean square above 100. Overfitting is read from
    the network's history or, given `validation_data`, from the two losses now.

    Args:
        net: a network that is built.
        X, y, sample_weight: as `Network.fit` takes arrays.
        validation_data: (X, y) or (X, y, sample_weight) that the network was not trained on.
        max_rows: at most so many rows, evenly spread, are looked at.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(4, "sigmoid"), cnn.Dense(1)], seed=0).build(2)
    >>> found = diagnose(net, 100 * np.random.default_rng(0).normal(size=(50, 2)), np.zeros(50))
    >>> "saturated" in found.advice[0]
    True
    """
    net.plan  # noqa: B018 (raises when not built)
    rows = data.prepare(X, y, sample_weight, net.loss, net.dtype, net.inputs, net.n_outputs)
    checks.integer("max_rows", max_rows, 1)
    seen = rows.take(np.linspace(0, len(rows) - 1, max_rows).astype(int)) if len(rows) > max_rows else rows
    layers = _signals(net, seen)
    advice = [*_units(layers), *_gradients(layers), *sizes.far_from_one(net, seen)]
    if validation_data is not None:
        held_out = data.prepare(*data.validation_sets(validation_data), net.loss, net.dtype, net.inputs,
                                net.n_outputs, "validation ")  # fmt: skip
        now, then = (evaluation.evaluate(net, part, {})["loss"] for part in (rows, held_out))
        if then > _MUCH_WORSE * now:
            advice.append(
                f"Overfitting: the loss is {now:.4g} on these rows, but {then:.4g} on the validation rows. {_CURES}"
            )
    elif sentence := _overfitting(net.history):
        advice.append(sentence)
    return Diagnosis(tuple(layers), tuple(advice) or (_NOTHING,))


def _signals(net: NetworkState, rows: Data) -> list[LayerSignals]:
    """One forward pass in the engine, then the chain rule layer by layer, so that each one's share can be seen."""
    plan, n = net.plan, len(rows)
    X = rows.X.to_scipy() if isinstance(rows.X, SparseRows) else images.scaled(rows.X, net.dtype).reshape(n, -1)
    passed = [(i, of) for i, of in enumerate(passes.layer_passes(net, rows.X)) if of is not None]
    out = np.ascontiguousarray(passed[-1][1].outputs)
    delta = np.empty_like(out)
    total = n if rows.weights is None else float(rows.weights.sum(dtype=np.float64))
    cnn_core.engine.loss_block(plan.loss, out, rows.targets, rows.classes, rows.weights, 1 / total, delta)

    found: list[LayerSignals] = []
    past: dict[int, Array] = {}  # deltas that go past a residual block to the input of a layer
    for place in reversed(range(len(passed))):
        i, here = passed[place]
        for above in [above for above in past if above > i]:  # of the layer above, and of dropouts
            delta = delta + past.pop(above)
        spec, units = plan.layers[i], here.outputs.shape[1]
        if spec["source"] >= 0:
            past[int(spec["source"])] = past.get(int(spec["source"]), 0) + delta
        if spec["kind"] != cnn_core.LayerKind.DENSE:  # it has no units that could be saturated or dead
            delta = here.back(np.ascontiguousarray(delta))
            continue
        slope = np.ones(n * units, net.dtype)
        kept = np.ascontiguousarray(here.kept).reshape(-1)
        cnn_core.engine.activation_backward(int(spec["activation"]), kept, slope, float(spec["alpha"]))
        slope = slope.reshape(n, units)
        below = passed[place - 1][1].outputs if place else X
        dz = delta * slope
        kind = cnn_core.Activation(int(spec["activation"])).name
        flat = np.abs(slope) < _FLAT * _SATURATING.get(kind, 1.0)
        if kind == "LEAKY_RELU":  # its slope is small by design, and alive
            flat = slope == 0
        found.append(LayerSignals(
            name=f"layers.{i}", activation=kind.lower(), saturated=float(flat.mean()) if kind in _SATURATING else 0.0,
            dead=float(flat.all(axis=0).mean()), output=sizes.rms(here.outputs), gradient=sizes.rms(dz),
            weight_gradient=float(np.linalg.norm(below.T.astype(np.float64) @ dz)),
        ))  # fmt: skip
        delta = dz @ net.parameters[f"layers.{i}.weights"].T
    return found[::-1]


def _units(layers: list[LayerSignals]) -> list[str]:
    advice = []
    for s in layers:
        if s.saturated > _MANY_SATURATED:
            advice.append(
                f"{s.name} ({s.activation}): {100 * s.saturated:.0f} % of its outputs are saturated, where it hardly "
                "learns. Standardise the inputs, begin with smaller weights, or use 'relu' or 'silu' there."
            )
        elif s.dead > _MANY_DEAD:
            advice.append(
                f"{s.name} ({s.activation}): {100 * s.dead:.0f} % of its units respond to no row. Lower the learning "
                "rate, or use 'leaky_relu', 'elu' or 'gelu' there."
            )
    return advice


def _gradients(layers: list[LayerSignals]) -> list[str]:
    first, last = layers[0], layers[-1]
    if len(layers) < 2 or last.gradient == 0:
        return []
    if first.gradient * _FOLD < last.gradient:
        return [
            f"Vanishing gradients: from {last.name} down to {first.name} they shrink from {last.gradient:.1e} to "
            f"{first.gradient:.1e}. Use 'relu', 'gelu' or 'silu' (initializer 'he_normal'), 'selu', or fewer layers."
        ]
    if first.gradient > _FOLD * last.gradient:
        return [
            f"Exploding gradients: from {last.name} down to {first.name} they grow from {last.gradient:.1e} to "
            f"{first.gradient:.1e}. Begin with smaller weights, lower the learning rate, or set clip_norm."
        ]
    return []


def _overfitting(history: History) -> str:
    if "val_loss" not in history or len(history) < 3:
        return ""
    loss, held_out = np.array(history.loss), np.array(history.val_loss)
    if np.isnan(held_out).all():
        return ""
    best = int(np.nanargmin(held_out))
    if held_out[-1] > _WORSE * held_out[best] and loss[-1] < loss[best]:
        return (
            f"Overfitting: the validation loss was lowest in epoch {history.epoch[best] + 1} ({held_out[best]:.4g}) "
            f"and is {held_out[-1]:.4g} now, while the training loss went on falling to {loss[-1]:.4g}. {_CURES}"
        )
    return ""
