"""`cnn.load`: the one place that knows every kind of file. A file can't name code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from cnn.files import container
from cnn.files.container import Contents
from cnn.files.network import revive_network
from cnn.network import Network
from cnn.table import TableModel
from cnn.table import load as table_load
from cnn.training import resume

if TYPE_CHECKING:  # they need scikit-learn
    from cnn.images import ImageClassifier
    from cnn.sklearn import EnsembleClassifier, EnsembleRegressor, MLPClassifier, MLPRegressor

    Estimator: TypeAlias = MLPClassifier | MLPRegressor | EnsembleClassifier | EnsembleRegressor | ImageClassifier
    Model: TypeAlias = Network | TableModel | Estimator

T = TypeVar("T")


def _load_network(contents: Contents) -> Network:
    return revive_network(contents, contents.payload, Network)


def _load_checkpoint(contents: Contents) -> Network:
    """The network alone, as it was at that moment; all the rest is checked."""
    net = resume.from_contents(contents, Network).net
    assert isinstance(net, Network)
    return net


def _load_estimator(contents: Contents) -> Any:
    try:
        from cnn.sklearn import load, load_ensemble
    except ImportError as error:
        raise _without_sklearn(contents) from error
    return (load_ensemble if contents.kind == "ensemble" else load).from_file(contents)


def _load_images(contents: Contents) -> Any:
    try:
        from cnn.images import load
    except ImportError as error:
        raise _without_sklearn(contents) from error
    return load.from_file(contents)


def _without_sklearn(contents: Contents) -> ImportError:
    what = "scikit-learn 1.4 or newer (extra 'sklearn'): pip install -U scikit-learn"
    return ImportError(f"{contents.path}: holds an estimator, which needs {what}")


# Every kind of file there is: a file can't name code.
_LOADERS: Mapping[str, Callable[[Contents], Any]] = {
    "network": _load_network,
    "checkpoint": _load_checkpoint,
    "estimator": _load_estimator,
    "ensemble": _load_estimator,
    "images": _load_images,
    "table": table_load.from_file,
}


@overload
def load(path: str | os.PathLike[str]) -> Model: ...


@overload
def load(path: str | os.PathLike[str], kind: type[T]) -> T: ...


def load(path: str | os.PathLike[str], kind: type[Any] | None = None) -> Any:
    """The model of a file, a `Network`, an estimator, an ensemble or a `TableModel`; no code of the file is run.

    It predicts the same to the last bit, and can be trained on; a network begins with a fresh optimizer.

    Args:
        path: of the file.
        kind: the class that is expected, for you and for type checkers.

    Raises:
        TypeError: the model is of another class.
        ModelFormatError: the file is not such a model, is damaged or cut short, or is of a later format.
        ImportError: it is an estimator, and scikit-learn is not installed.

    >>> import tempfile, cnn
    >>> net = cnn.Network([cnn.Dense(2)], seed=0).build(3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(f"{folder}/m.cnn")
    ...     again = cnn.load(f"{folder}/m.cnn")
    >>> bool((again.layers[0].weights == net.layers[0].weights).all())
    True
    """
    with container.read(path) as contents:
        if contents.kind not in _LOADERS:
            raise contents.error(f"it holds a {contents.kind}, which this version of cnn does not know")
        model = _LOADERS[contents.kind](contents)
    if kind is not None and not isinstance(model, kind):
        raise TypeError(f"{os.fspath(path)} holds a {type(model).__name__}, not a {kind.__name__}")
    return model
