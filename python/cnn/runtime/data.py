"""What a fit works on: checked arrays of the network's own type, from whatever the user gave."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from cnn._common import checks, console
from cnn._common.images import Images, Takes
from cnn.losses import Loss
from cnn.runtime import sparse
from cnn.runtime.sparse import SparseRows

Array = np.ndarray[Any, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Data:
    """Rows ready for the engine: X (n, n_inputs) or images; targets (n, k) or classes (n,), the other None; weights.

    Weights are (n,) or None.

    `y` is what metrics compare with: the classes, or the targets in the shape they were given. `kept` is what `once`
    has made of them. With an `index` X is shared: it is that of the rows `of`, and X[index] are the inputs of these.
    """

    X: Array | SparseRows
    targets: Array | None
    classes: Array | None
    weights: Array | None
    y: Array
    index: Array | None = None
    of: Data | None = field(default=None, compare=False, repr=False)
    kept: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.X if self.index is None else self.index)

    @property
    def weight(self) -> float:
        """The sum of the rows' weights."""
        return float(len(self) if self.weights is None else self.weights.sum(dtype=np.float64))

    def once(self, what: Hashable, make: Callable[[], T]) -> T:
        """make(), which is a function of these rows and of `what` alone: made once for all fits that share the rows."""
        if what not in self.kept:
            self.kept[what] = make()
        return self.kept[what]

    def rows(self, begin: int, end: int) -> Data:
        """Some of the rows, without copying."""
        cut = slice(begin, end)
        return Data(
            self.X[cut] if self.index is None else self.X,
            None if self.targets is None else self.targets[cut],
            None if self.classes is None else self.classes[cut],
            None if self.weights is None else self.weights[cut],
            self.y[cut],
            None if self.index is None else self.index[cut],
            self.of,
        )

    def take(self, index: Array) -> Data:
        """The rows of that index, copied."""
        return Data(
            self.X[index if self.index is None else self.index[index]],
            None if self.targets is None else self.targets[index],
            None if self.classes is None else self.classes[index],
            None if self.weights is None else self.weights[index],
            self.y[index],
        )

    def choose(self, index: Array) -> Data:
        """The rows of that index: targets and weights are copied, X is shared."""
        targets, classes = (None if own is None else own[index] for own in (self.targets, self.classes))
        weights = None if self.weights is None else self.weights[index]
        y = classes if targets is None else targets.reshape(-1, *self.y.shape[1:])
        assert y is not None
        assert self.index is None
        return Data(self.X, targets, classes, weights, y, index, self)

    def with_own_X(self) -> Data:
        """The same rows, their X copied if it was shared."""
        return self if self.index is None else replace(self, X=self.X[self.index], index=None, of=None, kept={})


def targets(
    name: str, y: Any, loss: Loss, dtype: np.dtype[Any], n_rows: int, n_outputs: int
) -> tuple[Array | None, Array | None, Array]:
    """(targets, classes, y for the metrics) as the loss wants them."""
    if y is None:
        raise TypeError(f"{name} is None; a fit needs a target for every row")
    y = checks.array(name, y)
    shape = y.shape
    checks.same_rows(name, shape[0] if shape else 0, n_rows)
    if loss.one_class and (len(shape) == 1 or shape[1:] == (1,)):
        classes = checks.classes(name, y.reshape(-1), n_outputs)
        return None, classes, classes
    values = checks.real_targets(name, y, dtype, n_outputs, loss.facts.outputs)
    loss.check_targets(name, values)
    return values, None, values.reshape(-1) if len(shape) == 1 else values


def prepare(
    X: Any,
    y: Any,
    sample_weight: Any,
    loss: Loss,
    dtype: np.dtype[Any],
    takes: Takes,
    n_outputs: int,
    prefix: str = "",
    place: str = "",
) -> Data:
    """Checks and converts all of it; `prefix` names the set in errors, `place` where in it a part of it is."""
    X = sparse.features(f"{prefix}X{place}", X, dtype, takes)
    if len(X) == 0 and not place:
        raise ValueError(f"{prefix}X has no rows: shape {X.shape}")
    real, classes, original = targets(f"{prefix}y{place}", y, loss, dtype, len(X), n_outputs)
    weights = None
    if sample_weight is not None:
        weights = checks.weights(f"{prefix}sample_weight{place}", sample_weight, dtype, len(X), bool(place))
    return Data(X, real, classes, weights, original)


def labels_of(data: Data, loss: Loss, n_outputs: int) -> Array:
    """The class of each row; ValueError where there are none."""
    labels = data.classes
    if labels is None and loss.for_classes and n_outputs == 1 and data.targets is not None:
        labels = (data.targets[:, 0] > 0.5).astype(np.int32)
    if labels is None:
        raise ValueError(f"class_weight needs integer classes and a loss for them, got loss {loss.name!r}")
    return labels


def class_factors(class_weight: Mapping[int, float] | str, counts: Array) -> Array:
    """The weight of each class, of which there are so many rows ("balanced": rows / (classes · count))."""
    factors = np.ones(len(counts))
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be a dict of class: weight or 'balanced', got {class_weight!r}")
        return counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight must be a dict of class: weight or 'balanced', got {class_weight!r}")
    for label, weight in class_weight.items():
        if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or not 0 <= label < len(counts):
            raise ValueError(f"class_weight names class {label!r}; the classes are 0 .. {len(counts) - 1}")
        factors[label] = checks.number(f"class_weight[{label}]", weight, 0)
    return factors


def weighted(data: Data, labels: Array, factors: Array, dtype: np.dtype[Any]) -> Data:
    """The data with its weights multiplied by the factor of each row's class."""
    weights = factors[labels] if data.weights is None else factors[labels] * data.weights
    checks.normal_weights("class_weight times sample_weight", weights, dtype)
    with np.errstate(all="ignore"):
        weights = weights.astype(dtype)
    checks.finite("class_weight times sample_weight", weights)
    return replace(data, weights=weights, kept={})


def with_class_weights(
    data: Data, class_weight: Mapping[int, float] | str | None, loss: Loss, n_outputs: int, dtype: np.dtype[Any],
    everywhere: Callable[[Array], Array] = lambda counts: counts,
) -> Data:  # fmt: skip
    """The data with its weights multiplied by those of each row's class (see `class_factors`).

    `everywhere` makes these rows' numbers of each class those of all rows, where others have some of them.
    """
    if class_weight is None:
        return data
    labels = labels_of(data, loss, n_outputs)
    counts = everywhere(np.bincount(labels, minlength=max(n_outputs, 2)))
    factors = class_factors(class_weight, counts)
    if not (factors[labels] if data.weights is None else factors[labels] * data.weights).any():
        raise ValueError("class_weight and sample_weight together are zero for every row")
    found = weighted(data, labels, factors, dtype)
    warn_of_classes(class_weight, counts)
    return found


def warn_of_classes(class_weight: Mapping[int, float] | str, counts: Array) -> None:
    """A warning where classes that there are have no weight."""
    if isinstance(class_weight, str):
        return
    if without := [label for label in np.flatnonzero(counts).tolist() if label not in class_weight]:
        console.warn(f"class_weight has no weight for class {without[0]}, which counts as 1")


def subset(data: Data, rows: Any) -> Data:
    """The rows of these indices (which may repeat), or of a mask of them; X is shared."""
    index = checks.array("rows", rows)
    if index.dtype == bool and index.shape == (len(data),):
        index = np.flatnonzero(index)
    if index.shape == (0,):
        raise ValueError("rows names no row")
    if index.ndim != 1 or index.dtype.kind not in "iu":
        what = f"indices of rows or a mask of all {len(data)}"
        raise TypeError(f"rows must be {what}, got {index.dtype} of shape {index.shape}")
    if (wrong := index[(index < 0) | (index >= len(data))]).size:
        raise ValueError(f"rows names row {wrong[0]}; the rows are 0 .. {len(data) - 1}")
    index = np.array(index, np.int64)  # a copy: the core reads X where it says
    if (np.diff(index) == 1).all():  # neighbours
        return data.rows(int(index[0]), int(index[-1]) + 1)
    return data.choose(index)


class Once:
    """Calls functions of data once for the same arguments: the same objects, or equal names and numbers.

    >>> calls, shared = [], [1]
    >>> once = Once()
    >>> once(calls.append, shared) is once(calls.append, shared), len(calls)
    (True, 1)
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, tuple[Any, Any]] = {}

    def __call__(self, function: Callable[..., T], *arguments: Any) -> T:
        values = (str, int, float, np.dtype, Loss, Images)
        key = (function, *(a if isinstance(a, values) else id(a) for a in arguments))
        if key not in self._found:  # the arguments are kept, for their ids are theirs alone as long as they live
            self._found[key] = arguments, function(*arguments)
        return self._found[key][1]


def validation_sets(given: Any) -> tuple[Any, Any, Any]:
    """(X, y, sample_weight or None) of what was given as validation data."""
    if not isinstance(given, (tuple, list)):
        raise TypeError(f"validation_data must be (X, y) or (X, y, sample_weight), got {type(given).__name__}")
    if len(given) not in (2, 3):
        raise ValueError(f"validation_data must be (X, y) or (X, y, sample_weight), got {len(given)} items")
    return given[0], given[1], given[2] if len(given) == 3 else None
