"""`cnn.mlflow.autolog()`: MLflow is told of every fit, without a callback (extra `mlflow`), and loads the models."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from importlib import import_module
from typing import Any

from cnn._common import checks, console
from cnn.callbacks.mlflow import MLflow, log, log_model
from cnn.callbacks.tracker import described, plain
from cnn.loading import load
from cnn.network import Network
from cnn.runtime.history import History
from cnn.table import TableModel

_plain_fits: dict[type, Callable[..., Any] | None] = {}  # of the classes whose fits are logged; None: inherited
_within: ContextVar[bool] = ContextVar("within a fit that is logged", default=False)
_DATA = {"X", "y", "table", "validation", "validation_data", "sample_weight", "X_val", "y_val", "callbacks", "augment"}


def autolog(*, log_models: bool = True, disable: bool = False) -> None:
    """From now on each `fit` of networks, table models and estimators of this process is a run of MLflow's.

    It goes into the run that is active, and else into one of its own: parameters (those of the estimator, or of the
    network, and the arguments of `fit` that are numbers or texts), the numbers of each epoch of each network, the
    scores of a `TableModel`, and the model, as `cnn.MLflow` logs it. Fits within a fit are not told of apart, and
    neither `train_many` nor `partial_fit` is. MLflow's own
    `mlflow.sklearn.autolog` knows the classes of scikit-learn alone. What MLflow can't be told, for its server does not
    answer, say, is warned of: the fit is not lost.

    Args:
        log_models: whether models are logged as well.
        disable: ends it.

    Raises:
        ImportError: MLflow is not there.

    >>> autolog(disable=True)
    """
    checks.flag("log_models", log_models)
    for cls, fit in _plain_fits.items():
        if fit is None:
            del cls.fit  # type: ignore[attr-defined]
        else:
            cls.fit = fit  # type: ignore[attr-defined]
    _plain_fits.clear()
    if not checks.flag("disable", disable):
        MLflow.package()
        for cls in _classes():
            _plain_fits[cls] = vars(cls).get("fit")
            cls.fit = _logged(cls.fit, log_models)


def _classes() -> list[Any]:
    """All whose fits are logged."""
    found: list[Any] = [Network, TableModel]
    try:
        from cnn import images, sklearn
    except ImportError:  # without scikit-learn there are no estimators
        return found
    return [*found, images.ImageClassifier, *(getattr(sklearn, f"{kind}{task}") for kind in ("MLP", "Ensemble")
                                              for task in ("Classifier", "Regressor"))]  # fmt: skip


def _logged(fit: Callable[..., Any], log_models: bool) -> Callable[..., Any]:
    """The method, in a run of MLflow's."""

    @wraps(fit)
    def logged(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _within.get():
            return fit(self, *args, **kwargs)
        token = _within.set(True)
        try:
            with _run() as tell:
                given = inspect.signature(fit).bind(self, *args, **kwargs).arguments
                tell(_parameters, self, given)
                found = fit(self, *args, **kwargs)
                tell(_numbers, self, found)
                if log_models:
                    tell(log_model, self.save)
                return found
        finally:
            _within.reset(token)

    return logged


@contextmanager
def _run() -> Iterator[Callable[..., None]]:
    """A function that tells the active run, or one that ends here, of something; it never raises."""
    mlflow = import_module("mlflow")
    client = mlflow.MlflowClient()

    def tell(run_id: str | None, what: Callable[..., None], *args: Any) -> None:
        try:
            if run_id is not None:
                what(client, run_id, *args)
        except Exception as error:
            console.warn(f"MLflow could not be told of a fit: {error}")

    active = mlflow.active_run()
    if active is not None:
        yield partial(tell, active.info.run_id)
        return
    with mlflow.start_run() as own:
        yield partial(tell, own.info.run_id)


def _parameters(client: Any, run_id: str, model: Any, given: dict[str, Any]) -> None:
    own = described(model) if isinstance(model, Network) else model.get_params(deep=False)
    of_fit = {name: value for name, value in given.items() if name not in {*_DATA, "self"} and isinstance(
        value, bool | int | float | str)}  # fmt: skip
    log(client, run_id, parameters={name: plain(value) for name, value in {**of_fit, **own}.items()})


def _numbers(client: Any, run_id: str, model: Any, found: Any) -> None:
    for prefix, history in _histories(model, found):
        names = history.names
        log(client, run_id, {epoch: {f"{prefix}{name}": history[name][i] for name in names}
                             for i, epoch in enumerate(history.epoch)})  # fmt: skip
    scores = getattr(model, "scores", None)
    for name, values in (scores if isinstance(scores, dict) else {}).items():
        numbers = values if isinstance(values, dict) else {"": values}
        log(client, run_id, {0: {f"{name}_{score}".rstrip("_"): value for score, value in numbers.items()}})


def _histories(model: Any, found: Any) -> list[tuple[str, History]]:
    """The histories of a fit, with what their numbers' names begin with."""
    if isinstance(found, History):
        return [("", found)]
    several = getattr(model, "histories", None) or [member.history_ for member in getattr(model, "estimators_", ())]
    if len(several) > 1:
        return [(f"member_{i}/", history) for i, history in enumerate(several)]
    return [("", history) for history in several or [getattr(model, "history_", None)] if history is not None]


def _load_pyfunc(path: str) -> Any:
    """What MLflow loads of a model that was logged: an object with `predict`."""
    return load(path)
