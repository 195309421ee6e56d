"""`Scale`: what it does not take, and its own learning rate; test_layers.py has the rest."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import cnn


def network(layers: list[cnn.layers.Layer], dtype: str = "float64") -> cnn.Network:
    return cnn.Network(layers, optimizer=cnn.Adam(0.01), dtype=dtype, seed=3).build(9)


def test_what_can_not_be_is_said() -> None:
    net = network([cnn.Scale(), cnn.Dense(2)])
    with pytest.raises(ValueError, match=r"sparse X needs a cnn\.Dense as the first layer, but for dropouts"):
        net.fit(sparse.csr_array(np.ones((4, 9))), np.ones((4, 2)), verbose=0)
    with pytest.raises(ValueError, match=r"sparse X needs a cnn\.Dense as the first layer"):
        net.predict(sparse.csr_array(np.ones((4, 9))))
    with pytest.raises(ValueError, match="initializer of Scale must be one of uniform, normal, zeros, ones, constant"):
        cnn.Scale("he_normal")
    with pytest.raises(ValueError, match="learning_rate_factor of Scale must be"):
        cnn.Scale(learning_rate_factor=-1)
    with pytest.raises(ValueError, match=r"the last layer must be a cnn\.Dense, got Scale"):
        cnn.Network([cnn.Dense(2), cnn.Scale()])
    with pytest.raises(ValueError, match="Scale"):
        cnn.to_sklearn(net)


def test_a_layers_own_rate() -> None:
    """Nothing but the factors learns where the dense layers have the rate 0."""
    X = np.random.default_rng(0).normal(size=(500, 4))
    net = cnn.Network([cnn.Scale(), cnn.Dense(1, learning_rate_factor=0)], optimizer=cnn.SGD(0.3), seed=0).build(4)
    before = net.get_weights()
    net.fit(X, X[:, 1], epochs=300, verbose=0)
    assert np.array_equal(before["layers.1.weights"], net.layers[1].weights)
    product = net.layers[0].weights * net.layers[1].weights[:, 0]
    np.testing.assert_allclose(product, [0, 1, 0, 0], atol=1e-3)
