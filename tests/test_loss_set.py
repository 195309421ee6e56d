"""A loss or an optimizer that is set on a network: checked and taken as the constructor takes it."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import cnn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.float32)


def network(loss: Any = "mse", units: int = 1, **options: Any) -> cnn.Network:
    return cnn.Network([cnn.Dense(5, "tanh"), cnn.Dense(units)], loss, seed=1, **options)


@pytest.mark.parametrize("built", [False, True])
def test_a_network_with_another_loss_is_one_made_with_it(built: bool) -> None:
    net, own = network(), network("binary_cross_entropy")
    if built:
        net.build(3)
        assert net.predict(X).shape == (60, 1)
    net.loss = "binary_crossentropy"  # as Keras has it
    assert net.loss == cnn.Loss("binary_cross_entropy")
    for one in (net, own):
        one.fit(X, Y, epochs=3, verbose=0)
    assert net.flat.tobytes() == own.flat.tobytes()
    for rows in (X, X[:1]):
        assert net.predict(rows).tobytes() == own.predict(rows).tobytes()
    assert 0 < net.predict(X).min() < net.predict(X).max() < 1
    assert net.evaluate(X, Y) == own.evaluate(X, Y)
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert again.loss == net.loss
        assert again.predict(X).tobytes() == net.predict(X).tobytes()


@pytest.mark.parametrize("built", [False, True])
def test_a_network_with_another_optimizer_is_one_made_with_it(built: bool) -> None:
    net, own = network(), network(optimizer=cnn.SGD(0.1, momentum=0.5))
    if built:
        net.fit(X, Y, epochs=1, verbose=0)
        own.build(3).set_weights(net.get_weights())
    net.optimizer = cnn.SGD(0.1, momentum=0.5)
    for one in (net, own):
        one.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    assert net.flat.tobytes() == own.flat.tobytes()
    state = net.state.copy()
    net.optimizer = cnn.SGD(0.01, momentum=0.5)  # of the same kind: it goes on
    assert (net.state == state).all()
    assert net.step == 2
    net.optimizer = "adam"
    assert net.optimizer == cnn.Adam()
    assert (len(net.state), net.state.any(), net.step) == (2 * len(net.flat), False, 0)


BAD: list[tuple[str, Any, int, type[Exception], str]] = [
    ("loss", "mea", 1, ValueError, "unknown loss 'mea'. "),
    ("loss", 3, 1, TypeError, "loss must be a name or a cnn.Loss, got 3"),
    ("loss", "cross_entropy", 1, ValueError, "cross_entropy needs an output for each class, got 1"),
    ("loss", "gaussian_nll", 3, ValueError, "gaussian_nll needs 2 outputs for each target, and the network has 3"),
    ("optimizer", "adm", 1, ValueError, "unknown optimizer 'adm'"),
]  # fmt: skip


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize(("name", "value", "units", "kind", "text"), BAD, ids=range(len(BAD)))
def test_what_can_not_be_set_changes_nothing(
    name: str, value: Any, units: int, kind: type[Exception], text: str, built: bool
) -> None:
    net = network(units=units)
    if built:
        net.build(3)
    before = pickle.dumps(net.get_weights()) if built else repr(net)
    with pytest.raises(kind, match=text):
        setattr(net, name, value)
    assert (net.loss, net.optimizer) == (cnn.Loss("mse"), cnn.Adam())
    assert (pickle.dumps(net.get_weights()) if built else repr(net)) == before
