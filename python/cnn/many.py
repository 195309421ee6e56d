"""Many networks at once: `train_many` and `predict_many`."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import cnn_core
from cnn._common import checks, threads
from cnn._common.elsewhere import told
from cnn._common.errors import named, of_network
from cnn.augment import Augmentation
from cnn.callbacks import Callback, EarlyStopping, EpochLines, Function, Hook, ReduceOnPlateau, SaveModel, all_of
from cnn.callbacks.output import ProgressOfMany
from cnn.network import Network
from cnn.runtime import passes_of_many
from cnn.runtime.data import Array, Once
from cnn.training import checkpoint, many
from cnn.training.fit import Fit, FitOptions, prepare
from cnn.training.stream import is_stream


@told
def train_many(
    networks: Sequence[Network],
    X: Any,
    y: Any = None,
    *,
    epochs: int | Sequence[int] = 10,
    batch_size: int | Sequence[int | None] | None = 128,
    validation_split: float | Sequence[float] = 0.0,
    validation_data: Sequence[Any] | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | str | Sequence[Any] | None = None,
    shuffle: bool | Sequence[bool] = True,
    initial_epoch: int | Sequence[int | None] | None = None,
    metrics: str | Callable[..., float] | Iterable[Any] = "auto",
    callbacks: Iterable[Hook] | Sequence[Iterable[Hook]] | Callable[[int], Iterable[Hook]] = (),
    rows: Any = None,
    verbose: int = 1,
    n_threads: int | None = None,
    errors: Literal["raise", "return"] = "raise",
    resume: str | os.PathLike[str] | Sequence[Any] | None = None,
    augment: Augmentation | Iterable[Any] | None = None,
) -> list[Any]:
    """Trains networks side by side, one thread each, and returns the history of each: the bits of `fit` one by one.

    They may differ in size, loss, optimizer, type and seed. Each argument is that of `Network.fit`, for all of them, or
    a list (not a tuple or an array) with one for each. It is one for each where its items are whole values of the
    argument: for X matrices, for y and sample_weight arrays (or None), for validation_data tuples (or None), for rows,
    metrics, callbacks and augment again lists or arrays (or None), for the others anything.

    Data that are given for all are checked and converted once, and shared. Networks whose minibatches are large enough
    for all threads are trained one after another.

    Args:
        networks: each at most once.
        X .. metrics, augment: as of `Network.fit`, for all networks or a list with one for each.
        rows: the indices (or a mask) of the rows of X, y and sample_weight that a network is trained on, as if X[rows],
            y[rows] were given. X is shared; y, weights and what `validation_split` holds out are copied, once for all
            networks with the same object.
        callbacks: a list for all, or one for each, or a function that makes the list for network i. Functions may be
            for all; of the callbacks that watch a number, and of `Checkpoint` and `SaveModel`, which then write to
            "member-i" in their folder and to a path with "{member}", each network gets a copy. Any other callback is
            for one network.
        verbose: 1 one progress bar, 2 a line for each epoch, 0 nothing.
        n_threads: networks at work at the same time; None: as many as there are cores.
        errors: what becomes of the errors of networks, while the others are trained to their end: "raise" raises them
            in an ExceptionGroup, each with a note that says which network it is of; "return" puts them in the place of
            the history.
        resume: the folder of a `cnn.Checkpoint` that all were given: each goes on from its own in it, those that have
            none yet begin. Or a list with the folder of each, or None.

    Raises:
        TypeError, ValueError: before anything is touched.
        ExceptionGroup: of `NonFiniteError`s and what callbacks raise.
        KeyboardInterrupt: Ctrl-C, within 200 ms where the cores have nothing else to do (on a busy machine up to 0.42 s
            were measured); each network stands at the end of a step, with its history.

    >>> import cnn, numpy as np
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> nets = [cnn.Network([cnn.Dense(n, "tanh"), cnn.Dense(1)], seed=n) for n in (4, 8, 16)]
    >>> histories = cnn.train_many(nets, X, X[:, 0] ** 2, epochs=[20, 30, 40], verbose=0)
    >>> [len(history) for history in histories]
    [20, 30, 40]
    """
    networks = _checked(networks, once=True)
    n, once = len(networks), Once()
    if errors not in ("raise", "return"):
        raise ValueError(f"errors must be 'raise' or 'return', got {errors!r}")
    given = {
        "X": X, "y": y, "epochs": epochs, "batch_size": batch_size, "validation_split": validation_split,
        "validation_data": validation_data, "sample_weight": sample_weight, "class_weight": class_weight,
        "shuffle": shuffle, "initial_epoch": initial_epoch, "metrics": metrics, "rows": rows,
        "augment": augment,
    }  # fmt: skip
    if isinstance(X, list | tuple) and not any(map(_is_matrix, X)) and is_stream(X, y):
        raise TypeError(f"X must be an array, got a {type(X).__name__} of batches, which are for Network.fit")
    if isinstance(rows, Mapping) or (isinstance(rows, tuple) and any(map(_is_sequence, rows))):
        kind = type(rows).__name__
        raise TypeError(f"rows must be indices for all networks, or a list of them, one for each, got a {kind}")
    each = {name: _one_each(name, value, n) for name, value in given.items()}
    if isinstance(resume, str | os.PathLike) and n > 1:
        checkpoint.Set(resume, n)
        resume = [checkpoint.member_folder(resume, i, n) for i in range(n)]
    each["resume"] = _one_each("resume", resume, n)
    sets = _sets_of_checkpoints(callbacks, n)
    hooks, bar = _hooks(callbacks, n), ProgressOfMany(n)
    verbose = int(verbose) if isinstance(verbose, bool) else checks.integer("verbose", verbose, 0)
    fits: list[Fit] = []
    for i, net in enumerate(networks):
        own = {name: values[i] for name, values in each.items()}
        data = own.pop("X"), own.pop("y")
        shown = [] if not verbose else [bar if verbose == 1 else EpochLines(f"network {i}, ")]
        options = FitOptions(**own, callbacks=[*hooks[i], *shown], n_threads=n_threads)
        fits.append(of_network(i, partial(prepare, net, *data, options, once)))
    for one in sets:
        one.begin()
    found = cnn_core.finishing(lambda: threads.fits_of(networks, partial(many.run, fits, n_threads)), [bar.close])
    failed = [named(result, i) for i, result in enumerate(found) if isinstance(result, Exception)]
    if failed and errors == "raise":
        raise ExceptionGroup(f"{len(failed)} of {n} networks failed; the others are trained", failed)
    return found


def predict_many(networks: Sequence[Network], X: Any, *, n_threads: int | None = None) -> list[Array]:
    """What `predict` gives for each network, in one call that shares out networks and blocks of rows among the threads.

    Args:
        networks: built ones, of any sizes.
        X: (n, n_inputs) for all, or a list with a matrix for each.
        n_threads: the result has the same bits for every number; None chooses.

    Raises:
        TypeError, ValueError: as of `Network.predict`, with a note that says which network it is of.

    >>> import cnn, numpy as np
    >>> nets = [cnn.Network([cnn.Dense(2)], seed=i).build(3) for i in range(4)]
    >>> X = np.ones((5, 3), np.float32)
    >>> [out.shape for out in cnn.predict_many(nets, X)]
    [(5, 2), (5, 2), (5, 2), (5, 2)]
    """
    networks = _checked(networks, once=False)
    return passes_of_many.predict(networks, _one_each("X", X, len(networks)), n_threads)


def _checked(networks: Any, *, once: bool) -> list[Network]:
    """The networks, each `once`."""
    if isinstance(networks, Network) or not isinstance(networks, Iterable):
        raise TypeError(f"networks must be a list of networks, got {type(networks).__name__}")
    found, first = list(networks), dict[int, int]()
    if not found:
        raise ValueError("networks must be at least one, got none")
    for i, net in enumerate(found):
        if not isinstance(net, Network):
            raise TypeError(f"networks[{i}] must be a cnn.Network, got {type(net).__name__}")
        if first.setdefault(id(net), i) != i and once:
            raise ValueError(f"networks[{first[id(net)]}] and networks[{i}] are the same; make a copy (copy.deepcopy)")
    return found


def _is_matrix(item: Any) -> bool:
    return len(getattr(item, "shape", ())) >= 2


def _is_array(item: Any) -> bool:
    return item is None or len(getattr(item, "shape", ())) > 0


def _is_pair(item: Any) -> bool:
    return item is None or isinstance(item, tuple)


def _is_sequence(item: Any) -> bool:
    return item is None or (hasattr(item, "__len__") and not isinstance(item, str))


# When a list is one with a value for each network: where these are true of all of its items. The others are scalars.
_WHOLE: dict[str, Callable[[Any], bool]] = {
    "X": _is_matrix, "y": _is_array, "sample_weight": _is_array, "validation_data": _is_pair, "rows": _is_sequence,
    "metrics": _is_sequence, "callbacks": _is_sequence, "augment": _is_sequence,
}  # fmt: skip


def _one_each(name: str, value: Any, n: int) -> list[Any]:
    """The value for each network."""
    whole = _WHOLE.get(name, lambda item: True)
    if not isinstance(value, list) or not value or not all(map(whole, value)):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name} must be one value for all networks or a list of {n}, one for each, got {len(value)}")
    return value


_WATCHERS = (EarlyStopping, ReduceOnPlateau, SaveModel)


def _hooks(given: Any, n: int) -> list[list[Callback]]:
    """The callbacks of each network, none of which another one has."""
    if callable(given) and not isinstance(given, Callback):
        lists = [all_of(given(i)) for i in range(n)]
    elif isinstance(given, list) and given and all(map(_WHOLE["callbacks"], given)):
        lists = [all_of(own or ()) for own in _one_each("callbacks", given, n)]
    else:
        everyone = all_of(given)
        lists = [[_for_member(hook, i, n) for hook in everyone] for i in range(n)]
    first: dict[int, int] = {}
    for i, own in enumerate(lists):
        for hook in own:
            if first.setdefault(id(hook), i) != i:
                what = f"networks[{first[id(hook)]}] and networks[{i}]"
                raise ValueError(f"{what} have the same {type(hook).__name__}; give each its own")
    return lists


def _sets_of_checkpoints(callbacks: Any, n: int) -> list[checkpoint.Set]:
    """The folders in which each network will have one, where a `Checkpoint` is given for several."""
    hooks = callbacks if n > 1 and isinstance(callbacks, Iterable) else ()
    return [checkpoint.Set(hook.folder, n) for hook in hooks if isinstance(hook, checkpoint.Checkpoint)]


def is_for_several(hook: Callback) -> bool:
    """Whether a callback may be given for all networks: each gets its own, or all the same function."""
    return isinstance(hook, (Function, *_WATCHERS)) or type(hook).for_member is not Callback.for_member


def _for_member(hook: Callback, i: int, n: int) -> Callback:
    """A callback that is given for all, for one of them."""
    if n == 1 or isinstance(hook, Function):
        return Function(hook.function) if isinstance(hook, Function) else hook
    own = (copy.deepcopy(hook) if isinstance(hook, _WATCHERS) else hook).for_member(i, n)
    if own is hook:
        raise ValueError(
            f"a {type(hook).__name__} can't be for several networks: give a list of callbacks for each, or a function "
            "of the network's number that makes it"
        )
    return own
