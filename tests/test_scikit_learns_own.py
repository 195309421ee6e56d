"""scikit-learn's own tests of its multilayer perceptrons, on ours: mathematics, attributes and words of errors."""

from __future__ import annotations

import importlib
from unittest import mock

import pytest

import cnn

pytest.importorskip("sklearn", minversion="1.9")
# What they look at is scikit-learn's alone.
NOT_OURS = {
    "test_fit": "sets the weights and calls private functions of the backward pass",
    "test_gradient": "calls `_loss_grad_lbfgs`",
    "test_learning_rate_warmstart": "reads the rate from the private `_optimizer`",
    "test_adaptive_learning_rate": "reads the rate from the private `_optimizer`",
    "test_mlp_diverging_loss": "a loss that is not finite ends our fits, with the last finite weights kept",
}

pytestmark = pytest.mark.filterwarnings("ignore")  # they say themselves which warnings matter

with mock.patch.multiple("sklearn.neural_network", MLPClassifier=cnn.MLPClassifier, MLPRegressor=cnn.MLPRegressor):
    theirs = importlib.import_module("sklearn.neural_network.tests.test_mlp")
assert theirs.MLPRegressor is cnn.MLPRegressor
tests = {name: test for name, test in vars(theirs).items() if name.startswith("test_")}
globals().update({name: test for name, test in tests.items() if name not in NOT_OURS})


@pytest.fixture
def global_random_seed() -> int:
    """What scikit-learn's own conftest gives by default."""
    return 42
