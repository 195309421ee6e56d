"""Integrated and expected gradients: a prediction divided among its inputs along paths from a baseline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn._common import checks
from cnn.explain import subject
from cnn.explain.explanation import Explanation
from cnn.explain.subject import Subject
from cnn.runtime.sparse import SparseRows
from cnn.table import TableModel, frames

Array = np.ndarray[Any, Any]

_NUMBERS = 1 << 18  # of the points on paths that are looked at together


def integrated_gradients(
    model: Any,
    X: Any,
    *,
    baseline: Any = None,
    steps: int = 64,
    output: int | None = None,
    raw: bool = False,
    n_threads: int | None = None,
) -> Explanation:
    """The shares of the inputs in predictions, along the straight line from a baseline (Sundararajan et al. 2017).

    values_i = (x_i - b_i) ∫₀¹ ∂f(b + a (x - b)) / ∂x_i da; they sum to f(x) - f(b), but for `gap`: the integral is
    taken by Gauss and Legendre's rule. Of a `TableModel` the shares of all inputs of a column are added. Of images
    there is a share for each number of a pixel; those of bytes (uint8) are taken as they are, as so many 255ths.

    Args:
        model: a `Network`, an estimator, an ensemble (the mean of its networks), a `TableModel` or an
            `ImageClassifier`.
        X: the rows to explain, as `predict` takes them; dense. Of images (n, height, width, channels).
        baseline: what x is compared with: one row, or a row for each of X, as X is given; None is zeros (black images),
            and for a `TableModel` a row whose cells are all missing: the shares say what it adds to know each cell.
        steps: points of the rule; more make the gap smaller.
        output: the number of the output (class) to explain; None explains all.
        raw: explain outputs before the loss's link: log-odds of a class, the logarithm of a mean.
        n_threads: the result has the same bits for every number; None chooses.

    Raises:
        TypeError, ValueError: arguments that can't be, before anything is computed.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(1)], dtype="float64", seed=0).build(2)
    >>> net.set_weights({"layers.0.weights": [[2.0], [-1.0]], "layers.0.biases": [3.0]})
    >>> found = cnn.explain.integrated_gradients(net, [[1.0, 2.0]], baseline=[[0.0, 0.0]])
    >>> found.values.round(9).tolist(), found.base_values.tolist()
    ([[2.0, -2.0]], [3.0])
    """
    of = subject.of(model, raw)
    of.check_slopes()
    x, shown = of.read("X", X)
    steps = checks.integer("steps", steps, 1)
    start = _nothing(model, of) if baseline is None else of.read("baseline", baseline)[0]
    if len(start) not in (1, len(x)):
        raise ValueError(f"baseline must be one row, or one for each of the {len(x)} rows of X, got {len(start)}")
    from scipy.special import roots_legendre  # not with the package: it takes as long as all the rest

    nodes, weights = roots_legendre(steps)
    shared = len(start) == 1

    def starts(rows: slice, _: slice) -> Array:
        return subject.dense(start)[None] if shared else subject.dense(start, rows)[:, None]

    work = _Work(of, of.chosen(output), (nodes + 1) / 2, weights / 2, starts, n_threads)
    base = of.outputs(start, n_threads)
    return work.explanation(x, shown, np.repeat(base, len(x), axis=0) if shared else base)


def expected_gradients(
    model: Any,
    X: Any,
    background: Any,
    *,
    samples: int = 200,
    seed: int = 0,
    output: int | None = None,
    raw: bool = False,
    n_threads: int | None = None,
) -> Explanation:
    """The mean of integrated gradients over baselines that are rows of a background (Erion et al. 2021).

    values_i = E[(x_i - b_i) ∂f(b + a (x - b)) / ∂x_i] over rows b of the background and a in (0, 1). They sum to
    f(x) - E[f(b)], but for `gap`, which falls with the number of samples. `shap.GradientExplainer` draws at random for
    each row; here all rows have the same draws, each row of the background as often as any other (of more than
    `samples` as many as that), and one a from each of `samples` equal parts of (0, 1): less is left to chance.

    Args:
        model, X, output, raw, n_threads: see `integrated_gradients`.
        background: rows to compare with, as X is given: the training rows or some hundred of them.
        samples: pairs of a row of the background and a place on the path.
        seed: of the draws.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(1)], dtype="float64", seed=0).build(2)
    >>> net.set_weights({"layers.0.weights": [[2.0], [-1.0]], "layers.0.biases": [3.0]})
    >>> found = cnn.explain.expected_gradients(net, [[1.0, 2.0]], [[0.0, 0.0], [0.0, 2.0]])
    >>> found.values.round(9).tolist(), found.base_values.tolist()
    ([[2.0, -1.0]], [2.0])
    """
    of = subject.of(model, raw)
    of.check_slopes()
    x, shown = of.read("X", X)
    rows, _ = of.read("background", background)
    if not len(rows):
        raise ValueError("background must have at least one row")
    samples = checks.integer("samples", samples, 1)
    rng = np.random.default_rng(checks.integer("seed", seed, 0))
    turns = [rng.permutation(len(rows)) for _ in range(-(-samples // len(rows)))]
    drawn = np.concatenate(turns)[:samples]
    places = (rng.permutation(samples) + rng.random(samples)) / samples
    start = rows[drawn]

    def starts(_: slice, draws: slice) -> Array:
        return subject.dense(start, draws)[None]

    work = _Work(of, of.chosen(output), places, np.full(samples, 1 / samples), starts, n_threads)
    each, often = np.unique(drawn, return_counts=True)
    base = (of.outputs(rows[each], n_threads) * (often / samples)[:, None]).sum(axis=0)
    return work.explanation(x, shown, np.tile(base, (len(x), 1)))


def _nothing(model: Any, of: Subject) -> Array:
    """The usual baseline, one row of inputs."""
    if not isinstance(model, TableModel):
        return np.zeros((1, of.n_inputs), of.networks[0].dtype)
    missing = frames.pandas().Series([None], dtype=object)
    assert of.rows is not None
    return subject.dense(of.rows(frames.pandas().DataFrame(dict.fromkeys(of.feature_names, missing))))


class _Work:
    """Shares by points `places` (s,) on paths that begin at `starts(rows, draws)`, added with `weights` (s,)."""

    def __init__(
        self, of: Subject, outputs: list[int], places: Array, weights: Array, starts: Callable[[slice, slice], Array],
        n_threads: int | None,
    ) -> None:  # fmt: skip
        self.of, self.outputs, self.places, self.weights = of, outputs, places, weights
        self.starts, self.n_threads = starts, n_threads

    @checks.quiet
    def explanation(self, x: Array | SparseRows, shown: Array, base: Array) -> Explanation:
        """Of the rows x, whose features are shown like that; base (n, outputs)."""
        of, outputs = self.of, self.outputs
        values = np.empty((len(x), len(of.begin), len(outputs)))
        at_once = max(_NUMBERS // x.shape[1], 1)
        draws = min(len(self.places), at_once)
        for begin in range(0, len(x), step := max(at_once // draws, 1)):
            rows = slice(begin, begin + step)
            shares = self._shares(x, rows, draws)
            values[rows] = np.moveaxis(np.add.reduceat(shares[:, :, of.order], of.begin, axis=2), 0, 2)
        base, predictions = base[:, outputs], of.outputs(x, self.n_threads)[:, outputs]
        values = values.reshape(*shown.shape, len(outputs))
        if len(outputs) == 1:
            values, base, predictions = values[..., 0], base[:, 0], predictions[:, 0]
        names = tuple(of.output_names[i] for i in outputs)
        return Explanation(values, base, shown, of.feature_names, names, predictions)

    def _shares(self, x: Array | SparseRows, rows: slice, draws: int) -> Array:
        """(outputs, rows, inputs) float64."""
        ends = subject.dense(x, rows)[:, None].astype(np.float64)
        total = np.zeros((len(self.outputs), len(ends), x.shape[1]))
        for begin in range(0, len(self.places), draws):
            some = slice(begin, begin + draws)
            start, weights = self.starts(rows, some), self.weights[some]
            way = ends - start
            points = (start + self.places[some, None] * way).astype(x.dtype)
            slopes = self.of.gradients(points.reshape(-1, x.shape[1]), self.outputs, self.n_threads)
            slopes = slopes.reshape(len(self.outputs), *points.shape)
            total += np.einsum("s,rsd,orsd->ord", weights, np.broadcast_to(way, points.shape), slopes)
        return total
