"""Names of other libraries are answered by what it is called here; what nothing is near to gets no suggestion."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import numpy as np
import pytest

import cnn
from cnn._common import elsewhere

X = np.random.default_rng(0).normal(size=(30, 2))


def network(**how: Any) -> cnn.Network:
    return cnn.Network([cnn.Dense(1)], seed=0, **how)


@pytest.mark.parametrize(("call", "text"), [
    (lambda: cnn.Adam(lr=0.1), "Adam has no argument 'lr': here it is 'learning_rate'; it has learning_rate"),
    (lambda: cnn.SGD(decay=0.1), "here it is 'weight_decay'"),
    (lambda: cnn.SGD(clipnorm=1.0), "here it is 'clip_norm'"),
    (lambda: cnn.EarlyStopping(restore_best_weights=True), "has no argument .* here it is 'restore_best'"),
    (lambda: cnn.Checkpoint("x", evry=1), "here it is 'every'"),
    (lambda: cnn.Dense(3, kernel_initializer="zeros"), "here it is 'initializer'"),
    (lambda: cnn.Dense(3, input_shape=(2,)), "Dense has no argument 'input_shape': the number of inputs is taken"),
    (lambda: cnn.Dense(3, trainable=False), "a layer that keeps its weights has learning_rate_factor=0"),
    (lambda: cnn.Dense(3, name="a"), "Dense has no argument 'name'; it has units, activation"),
    (lambda: network(batch_size=32), "Network has no argument 'batch_size': it belongs to fit; it has layers"),
    (lambda: network(learning_rate=0.1), r"it belongs to the optimizer: cnn.Adam\(learning_rate="),
    (lambda: network(metrics=["mae"]), "it belongs to fit and evaluate"),
    (lambda: network().fit(X, X[:, 0], lr=0.1), "it belongs to the optimizer"),
    (lambda: cnn.Dense(3, in_features=2), "the number of inputs is taken from the data"),
    (lambda: cnn.TableModel("y", lr=0.1), "here it is 'learning_rate'"),
    (lambda: cnn.TableModel("y", hidden_layers=[3]), "here it is 'hidden'"),
    (lambda: cnn.Dropout(p=0.1), "here it is 'rate'"), (lambda: network(random_state=0), "Network has no argument"),
    (lambda: cnn.schedules.Cosine(lr=0.1), "here it is 'learning_rate'"),
    (lambda: network().fit(X, X[:, 0], nb_epoch=3), "here it is 'epochs'"),
    (lambda: network().fit(X, X[:, 0], class_weights={}), "here it is 'class_weight'"),
    (lambda: network().fit(X, X[:, 0], quiet=True), "fit has no argument 'quiet'; it has X, y, epochs"),
    (lambda: cnn.Dense(3, activation=ReLU()), "activation must be a name or a cnn.Activation, got .*; 'relu' is one"),
])  # fmt: skip
def test_arguments_of_other_libraries(call: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        call()


class ReLU:
    """As torch.nn has it."""


@pytest.mark.parametrize(("call", "text"), [
    (lambda: network(loss="nll"), "Did you mean 'cross_entropy'"),
    (lambda: network(loss="MSELoss"), "Did you mean 'mse'"),
    (lambda: network(loss="BCEWithLogitsLoss"), "Did you mean 'binary_cross_entropy'"),
    (lambda: cnn.schedules.get("CosineAnnealing"), "Did you mean 'cosine'"),
    (lambda: cnn.metrics.get("categorical_accuracy"), "Did you mean 'accuracy'"),
    (lambda: cnn.metrics.get("accurcy"), "Did you mean 'accuracy'"),
    (lambda: network().fit(X, X[:, 0], callbacks=[cnn.EarlyStopping("val_mea")], validation_split=0.2, metrics="mae"),
     "did you mean 'val_mae'"),
])  # fmt: skip
def test_names_that_are_near(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()


def test_val_acc_is_val_accuracy() -> None:
    net = cnn.Network([cnn.Dense(2)], loss="cross_entropy", seed=0)
    with pytest.raises(ValueError, match=r"watches 'val_acc', .*did you mean 'val_accuracy'"):
        net.fit(X, X[:, 0] > 0, validation_split=0.2, callbacks=[cnn.EarlyStopping("val_acc")])


@pytest.mark.parametrize("name", ["omicron", "x", "quux", "zzz"])
def test_names_that_nothing_is_near_to(name: str) -> None:
    for ask in (cnn.metrics.get, cnn.losses.get, cnn.activations.get, cnn.optimizers.get, cnn.schedules.get):
        with pytest.raises(ValueError, match="unknown") as error:
            ask(name)
        assert "Did you mean" not in str(error.value)


def test_methods_of_other_libraries() -> None:
    net = network()
    for name, text in elsewhere.METHODS.items():
        with pytest.raises(AttributeError, match=f"'Network' object has no attribute '{name}': "):
            getattr(net, name)
        assert text
    with pytest.raises(AttributeError, match=r"has no attribute 'nothing'$"):
        net.nothing  # noqa: B018
    with pytest.raises(cnn.NotBuiltError, match="does not know its number of inputs"):
        net.plan  # noqa: B018
    assert not hasattr(net, "__array__")
    assert pickle.loads(pickle.dumps(net)).seed == copy.deepcopy(net).seed == net.seed


def test_what_is_suggested_is_there() -> None:
    """Each name on the right of the table is one of an argument, a loss, a metric."""
    known = {*cnn.losses.NAMES, *cnn.metrics.BY_NAME, *cnn.schedules.BY_NAME}
    made_of = (cnn.Network, cnn.Network.fit, cnn.TableModel, cnn.Dense, cnn.Dropout, cnn.Adam, cnn.EarlyStopping)
    for made in (*made_of, cnn.SaveModel, cnn.TensorBoard, cnn.search):
        known |= set(inspect.signature(made).parameters)
    known |= {"n_estimators", "random_state"}  # of ensembles, which need an extra
    assert set(elsewhere.ELSEWHERE.values()) <= known


def test_names_of_other_packages() -> None:
    for name, text in elsewhere.PACKAGE.items():
        with pytest.raises(AttributeError, match=f"module 'cnn' has no attribute '{name}': here it is "):
            getattr(cnn, name)
        for here in re.findall(r"cnn\.(\w+)", text):
            assert hasattr(cnn, here)
    with pytest.raises(AttributeError, match=r"'EarlyStoping': here it is cnn\.EarlyStopping"):
        cnn.EarlyStoping  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute 'quux'$"):
        cnn.quux  # type: ignore[attr-defined]  # noqa: B018
    history = network().fit(X, X[:, 0] > 0, epochs=1, metrics="mae", verbose=0)
    with pytest.raises(AttributeError, match=r"no 'mea' \(did you mean 'mae'\?\); it has loss"):
        history.mea  # noqa: B018
