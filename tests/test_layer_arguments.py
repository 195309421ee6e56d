"""What kinds of layers take and refuse, where they can stand, and values that are known without a reference."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
import reference
import scipy.stats
from scipy import sparse

import cnn
import cnn_core
from cnn.runtime.plan import build

X = np.random.default_rng(0).normal(size=(40, 5))


def network(*layers: cnn.layers.Layer, dtype: str = "float64", n: int = 5, **how: Any) -> cnn.Network:
    return cnn.Network([*layers, cnn.Dense(2)], dtype=dtype, seed=0, **how).build(n)


# LayerNorm ------------------------------------------------------------------------------------------------------------


def test_layer_norm_has_the_values_of_pytorchs_formula() -> None:
    """y = (x - E[x]) / sqrt(Var[x] + eps) * gamma + beta, with the variance of the divisor n, by hand."""
    net = network(cnn.LayerNorm(0.5), n=4)
    net.layers[0].weights[...] = [1, 2, 3, 4]
    net.layers[0].biases[...] = [0, 0, 0, 10]
    found = net.layer_outputs([[1.0, 2.0, 3.0, 6.0]])[0]
    np.testing.assert_allclose(found, [np.array([-2, -2, 0, 12]) / 2 + [0, 0, 0, 10]], rtol=1e-14)  # variance 3.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 3.0, -1e30, 1e-30])
def test_a_row_of_equal_numbers_gives_the_biases(dtype: str, value: float) -> None:
    """Also where all are so large that rounding the mean leaves something."""
    net = network(cnn.LayerNorm(1e-12), dtype=dtype, n=3)
    net.layers[0].biases[...] = [1, 2, 3]
    found = net.layer_outputs(np.full((2, 3), value))[0]
    np.testing.assert_allclose(found, [[1, 2, 3]] * 2, atol=1.8 if value == -1e30 else 0)
    assert np.isfinite(net.loss_and_gradient(np.full((2, 3), value), np.ones((2, 2)))[1]["layers.1.weights"]).all()


def test_one_unit_is_the_bias() -> None:
    net = network(cnn.Dense(1), cnn.LayerNorm())
    net.layers[1].biases[...] = 4
    assert net.layer_outputs(X)[1].tolist() == [[4.0]] * 40


def test_bias_of_layer_norm_decays_where_biases_do() -> None:
    for decay_biases, expected in ((False, 1.0), (True, 0.9)):
        optimizer = cnn.AdamW(1.0, weight_decay=0.1, decay_biases=decay_biases)
        net = network(cnn.LayerNorm(), optimizer=optimizer)
        net.layers[0].biases[...] = 1
        net.update({name: np.zeros(view.shape) for name, view in net.parameters.items()})
        assert net.layers[0].biases == pytest.approx(expected)
        assert net.layers[0].weights == pytest.approx(0.9)


# CategoryEmbedding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 9, 70])  # by rows would be the first two: there is no function for that
def test_categories_have_their_row_and_others_zeros(dtype: str, n: int) -> None:
    table = np.arange(1, 13, dtype=dtype).reshape(4, 3)
    net = network(cnn.CategoryEmbedding(4, 3), dtype=dtype, n=2)
    net.layers[0].weights[...] = table
    codes = [0, 3, 1.75, -1, 4, -0.5, 1e30, -1e30, 2][:n] + [2] * (n - 9)
    expected = [table[int(c)] if 0 <= c < 4 else np.zeros(3) for c in codes]
    given = np.column_stack([np.full(n, 0.5), codes])
    found = net.layer_outputs(given)[0]
    np.testing.assert_array_equal(found, np.column_stack([expected, np.full(n, 0.5)]))
    dense = net.layers[1]
    np.testing.assert_allclose(net.predict(given), found @ dense.weights + dense.biases, rtol=1e-5)


def test_a_category_that_no_row_has_learns_nothing() -> None:
    net = network(cnn.CategoryEmbedding(5, 2), n=1, optimizer="sgd")
    before = net.layers[0].weights.copy()
    net.fit(np.array([[1.0], [3.0], [-1.0], [5.0]]), np.ones((4, 2)), epochs=3, verbose=0)
    changed = (net.layers[0].weights != before).any(axis=1)
    assert changed.tolist() == [False, True, False, True, False]


def test_categories_above_float32_are_refused_and_the_last_has_a_row() -> None:
    net = network(cnn.CategoryEmbedding(2**20, 1, "zeros"), dtype="float32", n=1)
    net.layers[0].weights[-1] = 7
    assert net.layer_outputs([[2**20 - 1], [2**20 - 2]])[0].tolist() == [[7.0], [0.0]]


def test_sparse_x_below_categories_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sparse X needs a cnn\.Dense as the first layer"):
        network(cnn.CategoryEmbedding(3, 2)).predict(sparse.csr_array(X))


# Residual -------------------------------------------------------------------------------------------------------------


def test_a_block_that_gives_nothing_changes_nothing() -> None:
    block = cnn.Residual([cnn.Dense(9, "tanh"), cnn.Dense(5, initializer="zeros")])
    plain, with_block = network(), network(block)
    with_block.layers[3].weights[...], with_block.layers[3].biases[...] = plain.layers[0].weights, 0
    plain.layers[0].biases[...] = 0
    assert with_block.predict(X).tobytes() == plain.predict(X).tobytes()


def test_a_block_is_laid_flat() -> None:
    inner = cnn.Residual([cnn.Dropout(0.1), cnn.Dense(5)])
    net = network(cnn.Residual([inner, cnn.LayerNorm()]))
    flat = (cnn.Dropout(0.1), cnn.Dense(5), cnn.Add(2), cnn.LayerNorm(), cnn.Add(4), cnn.Dense(2))
    assert net.descriptions == flat
    assert cnn.Network(flat).descriptions == flat


def test_estimators_take_blocks_and_go_on_with_them() -> None:
    pytest.importorskip("sklearn")
    layers = [cnn.Dense(6, "relu"), cnn.Residual([cnn.LayerNorm(), cnn.Dense(6, "relu")]), cnn.Dense(1)]
    model = cnn.MLPRegressor(layers=layers, max_iter=2, warm_start=True, random_state=0, tol=0, n_iter_no_change=100)
    for _ in range(2):
        with pytest.warns(UserWarning, match="converge"):
            model.fit(X, X[:, 0])
    assert model._network.step == 4


@pytest.mark.parametrize("zeros", [False, True])
def test_x_that_a_block_adds_is_dense(zeros: bool) -> None:
    """Given sparse it is refused, and zeros of a dense one are not left out, as they were else."""
    block = cnn.Residual([cnn.Dense(120, "tanh")])
    net, n = network(block, n=120), 200
    given = np.where(np.random.default_rng(1).random((n, 120)) < 0.05, 1.0, 0.0)
    assert isinstance(network(cnn.Dense(120), n=120).plan.without_zeros(given), np.ndarray) is False
    if zeros:
        twin = network(block, n=120)
        for net_, epochs in ((net, [2]), (twin, [1, 1])):
            for n_epochs in epochs:
                net_.fit(given, given[:, :2], epochs=n_epochs, verbose=0)
        assert net.flat.tobytes() == twin.flat.tobytes()
    else:
        with pytest.raises(ValueError, match=r"sparse X can't be what a residual block adds: give X\.toarray\(\)"):
            net.predict(sparse.csr_array(given))


def test_sparse_x_below_a_block() -> None:
    net = network(cnn.Dense(6, "tanh"), cnn.Residual([cnn.LayerNorm(), cnn.Dense(6)]), n=30)
    given = np.where(np.random.default_rng(1).random((50, 30)) < 0.1, 1.5, 0.0)
    y = given[:, :2]
    np.testing.assert_allclose(net.predict(sparse.csr_array(given)), net.predict(given), rtol=1e-12)
    found, expected = (net.loss_and_gradient(x, y)[1] for x in (sparse.csr_array(given), given))
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-10, atol=1e-13, err_msg=name)


def test_prediction_needs_no_more_buffers_than_live_at_once() -> None:
    tiles = network(*[cnn.Dense(8)] * 4).plan.tiles
    assert tiles.layers["output"].tolist() == [8, 0, 8, 0, 8]
    assert tiles.workspace["columns"].item() == 16
    block = cnn.Residual([cnn.Dense(8), cnn.Dense(8)])
    tiles = network(cnn.Dense(8), block, block).plan.tiles
    assert tiles.workspace["columns"].item() == 24
    assert tiles.places == (1, 0, 2, 0, 1, 2, 1, 0)


# Activations ----------------------------------------------------------------------------------------------------------


def test_prelu_by_hand_and_at_zero() -> None:
    """PyTorch's prelu: the slope at 0 is p, and p gets no gradient from there."""
    net = network(cnn.PReLU(), n=3)
    net.layers[0].weights[...] = [0.5, 2, -1]
    net.layers[1].weights[...], net.layers[1].biases[...] = 1, 0
    rows = np.array([[-2.0, 0.0, -3.0], [4.0, -0.0, 5.0]])
    assert net.layer_outputs(rows)[0].tolist() == [[-1, 0, 3], [4, 0, 5]]
    net.forward(rows)
    dX = net.backward(np.array([[1.0, 0.0], [10.0, 0.0]]))
    assert dX.tolist() == [[0.5, 2, -1], [10, 20, 10]]
    assert net.gradients["layers.0.weights"].tolist() == [-2, 0, -3]


def test_slopes_do_not_decay_but_where_told() -> None:
    for layer, expected in ((cnn.PReLU(), 0.25), (cnn.PReLU(decay_factor=1), 0.225)):
        net = network(layer, optimizer=cnn.AdamW(1.0, weight_decay=0.1))
        net.update({name: np.zeros(view.shape) for name, view in net.parameters.items()})
        assert net.layers[0].weights == pytest.approx(expected)


@pytest.mark.parametrize("kind", cnn_core.Activation)
def test_every_activation_can_be_blended(kind: cnn_core.Activation) -> None:
    """w = 1 is the function, w = 0 nothing; between the two the gradient is right."""
    name = kind.name.lower()
    plain, net = network(cnn.Dense(6, name)), network(cnn.Dense(6), cnn.ParametricActivation(name))
    for i, j in ((0, 0), (1, 2)):
        net.layers[j].weights[...], net.layers[j].biases[...] = plain.layers[i].weights, plain.layers[i].biases
    np.testing.assert_allclose(net.predict(X), plain.predict(X), rtol=1e-12, atol=1e-13)
    net.layers[1].weights[...] = np.linspace(-0.5, 1.5, 6)
    assert cnn.gradient_check(net, X, X[:, :2]).error < 1e-6
    net.layers[1].weights[...] = 0
    np.testing.assert_allclose(net.layer_outputs(X)[1], net.layer_outputs(X)[0], rtol=1e-12)


def test_a_parameter_of_the_function_is_taken() -> None:
    net = network(cnn.ParametricActivation(cnn.Activation("leaky_relu", 0.3)))
    assert net.layer_outputs([[-1.0, 2.0, 0.0, -2.0, 1.0]])[0].round(12).tolist() == [[-0.3, 2, 0, -0.6, 1]]


def test_lbfgs_learns_all_but_edges() -> None:
    pytest.importorskip("sklearn")
    layers = [cnn.PiecewiseEmbedding.of(X, 6), cnn.Dense(1)]
    model = cnn.MLPRegressor(layers=layers, solver="lbfgs", max_iter=300, random_state=0).fit(X, np.sin(X[:, 0]))
    assert model.score(X, np.sin(X[:, 0])) > 0.99
    edges = model._network.parameters["layers.0.edges"]
    np.testing.assert_allclose(edges[0], np.quantile(X[:, 0], np.arange(6) / 6), rtol=1e-6)
    with pytest.raises(ValueError, match="solver='lbfgs' needs the same loss at every call: there can be no noise"):
        cnn.MLPRegressor(layers=[cnn.GaussianNoise(1), cnn.Dense(1)], solver="lbfgs").fit(X, X[:, 0])
    with pytest.raises(ValueError, match="solver='lbfgs' has no steps that move running averages: there can be no Bat"):
        cnn.MLPRegressor(layers=[cnn.BatchNorm(), cnn.Dense(1)], solver="lbfgs").fit(X, X[:, 0])


def test_plots_and_summary_take_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    net = network(cnn.PiecewiseEmbedding.of(X, 20), cnn.LayerNorm(), cnn.Dense(4), cnn.PReLU(), cnn.NumericEmbedding(2))
    assert len(cnn.plots.network(net).axes) == 1
    assert len(cnn.plots.weights(net).axes) == 6
    assert len(cnn.plots.activations(net, X).axes) == 2
    net.summary()
    assert "PiecewiseEmbedding(edges=((" in (said := capsys.readouterr().out)
    assert max(map(len, said.splitlines())) < 300


# GaussianNoise --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_is_normal_and_known(dtype: str) -> None:
    """Its moments and tails; the numbers of Box & Muller's formula; none in prediction."""
    net = network(cnn.GaussianNoise(2.0), dtype=dtype, n=40)
    net.layers[1].weights[...], net.layers[1].biases[...] = 0, 0
    net.layers[1].weights[:2] = np.eye(2)
    rows = np.zeros((50_000, 40), dtype)
    noise = net.forward(rows, training=True) / 2
    assert noise.tobytes() == (net.forward(rows, training=True) / 2).tobytes()
    assert scipy.stats.kstest(noise.ravel().astype(float), "norm").pvalue > 0.01
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.02
    assert abs(np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]) < 0.02
    for unit in (0, 1):
        known = reference.normal_numbers(net.seed, 1, 0, unit << 34, 100)
        np.testing.assert_allclose(noise[:100, unit], known, rtol=2e-5 if dtype == "float32" else 1e-12, atol=1e-6)
    assert not net.forward(rows).any()
    net.fit(rows[:10], rows[:10, :2], epochs=1, verbose=0)  # the next step draws other numbers
    assert not np.array_equal(net.forward(rows[:10], training=True)[:, 0], 2 * noise[:10, 0])


def test_noise_of_nothing_is_nothing() -> None:
    nets = [network(*layers) for layers in ([cnn.GaussianNoise(0)], [])]
    nets[0].layers[1].weights[...] = nets[1].layers[0].weights
    for net in nets:
        net.fit(X, X[:, :2], epochs=2, verbose=0)
    assert nets[0].layers[1].weights.tobytes() == nets[1].layers[0].weights.tobytes()


def test_noise_needs_dense_x() -> None:
    with pytest.raises(ValueError, match=r"sparse X needs a cnn\.Dense as the first layer"):
        network(cnn.GaussianNoise(0.1)).fit(sparse.csr_array(np.eye(5)), np.ones((5, 2)), verbose=0)


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: cnn.LayerNorm(0), ValueError, r"epsilon of LayerNorm must be in \[1e-12, inf\), got 0"),
    (lambda: cnn.LayerNorm("a"), TypeError, "epsilon of LayerNorm must be a number"),
    (lambda: cnn.LayerNorm(learning_rate_factor=-1), ValueError, "learning_rate_factor of LayerNorm must be"),
    (lambda: cnn.LayerNorm(eps=1e-3), TypeError, "here it is 'epsilon'"),
    (lambda: cnn.BatchNorm(0), ValueError, r"epsilon of BatchNorm must be in \[1e-12, inf\), got 0"),
    (lambda: cnn.BatchNorm(momentum=0), ValueError, r"momentum of BatchNorm must be in \(0, 1\), got 0"),
    (lambda: cnn.BatchNorm(momentum=1), ValueError, r"momentum of BatchNorm must be in \(0, 1\), got 1"),
    (lambda: cnn.BatchNorm(momentum="a"), TypeError, "momentum of BatchNorm must be a number"),
    (lambda: cnn.BatchNorm(activation="rleu"), ValueError, "unknown activation 'rleu'. Did you mean 'relu'"),
    (lambda: cnn.BatchNorm(decay_factor=-1), ValueError, "decay_factor of BatchNorm must be"),
    (lambda: cnn.BatchNorm(eps=1e-3), TypeError, "here it is 'epsilon'"),
    (lambda: cnn.BatchNorm(trainable=False), TypeError, "has no argument 'trainable': a layer that keeps its weights"),
    (lambda: cnn.Network([cnn.Dense(2), cnn.BatchNorm()]), ValueError, "the last layer must be a cnn.Dense, got Batch"),
    (lambda: cnn.CategoryEmbedding(0, 3), ValueError, "categories must be an integer"),
    (lambda: cnn.CategoryEmbedding(2**24 + 1, 3), ValueError, "categories must be an integer"),
    (lambda: cnn.CategoryEmbedding(3, 0), ValueError, "units must be an integer >= 1, got 0"),
    (lambda: cnn.CategoryEmbedding(3, 2, "he_normal"), ValueError, "initializer of CategoryEmbedding must be one of"),
    (lambda: cnn.CategoryEmbedding(3, 2, decay_factor=-1), ValueError, "decay_factor of CategoryEmbedding must be"),
    (lambda: cnn.to_torch(network(cnn.CategoryEmbedding(3, 2))), ValueError, r"layer 0, CategoryEmbedding\(.* is not"),
    (lambda: cnn.Add(0), ValueError, "span of Add must be an integer >= 1, got 0"),
    (lambda: cnn.Add(1.5), TypeError, "span of Add must be an integer"),
    (lambda: cnn.Residual(cnn.Dense(3)), TypeError, r"Residual takes a list of layers such as \[cnn.Dense\(8\)\], got"),
    (lambda: cnn.Residual([3]), TypeError, r"Residual takes layers such as cnn.Dense\(8\), got 3"),
    (lambda: cnn.Residual([]), ValueError, "Residual needs at least one layer, got an empty list"),
    (lambda: cnn.PReLU("a"), TypeError, "slope of PReLU must be a number, got 'a'"),
    (lambda: cnn.PReLU(np.inf), ValueError, r"slope of PReLU must be in \(-inf, inf\), got inf"),
    (lambda: cnn.ParametricActivation("rleu"), ValueError, "unknown activation 'rleu'. Did you mean 'relu'"),
    (lambda: cnn.ParametricActivation("relu", "he_normal"), ValueError, "initializer of ParametricActivation must be"),
    (lambda: cnn.NumericEmbedding(0), ValueError, "columns of NumericEmbedding must be an integer >= 1, got 0"),
    (lambda: cnn.NumericEmbedding(cosines=0), ValueError, "cosines of NumericEmbedding must be an integer >= 1, got 0"),
    (lambda: cnn.NumericEmbedding(size=1), ValueError, "size of NumericEmbedding must be an integer >= 2, got 1"),
    (lambda: cnn.NumericEmbedding(sigma=-1), ValueError, "sigma of NumericEmbedding must be in"),
    (lambda: network(cnn.NumericEmbedding(6)), ValueError,
     r"NumericEmbedding\(columns=6, .*\) needs 6 inputs at least, and there are 5"),
    (lambda: cnn.PiecewiseEmbedding(3), TypeError, "edges of PiecewiseEmbedding must be lists of numbers"),
    (lambda: cnn.PiecewiseEmbedding([]), ValueError, "must be given for one column at least, got an empty list"),
    (lambda: cnn.PiecewiseEmbedding([3]), TypeError, "edges of PiecewiseEmbedding, column 0, must be a list"),
    (lambda: cnn.PiecewiseEmbedding([[0, 1], [0]]), ValueError, r"column 1, must be 2 numbers at least, got \[0.0\]"),
    (lambda: cnn.PiecewiseEmbedding([[-1e39, 0]]), ValueError, r"column 0, must be finite in float32, got"),
    (lambda: cnn.PiecewiseEmbedding([[0, 1], [1, 1]]), ValueError, r"column 1, must ascend, also in float32, got"),
    (lambda: cnn.PiecewiseEmbedding([[0, np.nan]]), ValueError, "column 0, must be in"),
    (lambda: cnn.PiecewiseEmbedding([[0, 1]], size=0), ValueError, "size of PiecewiseEmbedding must be an integer"),
    (lambda: cnn.PiecewiseEmbedding([[0, 1]], activation="rleu"), ValueError, "unknown activation 'rleu'"),
    (lambda: network(cnn.PiecewiseEmbedding([[0, 1]] * 6)), ValueError, "has edges for 6 inputs, and there are 5"),
    (lambda: cnn.PiecewiseEmbedding.of(np.ones((3, 2))), ValueError, "column 0, must be 2 numbers at least"),
    (lambda: cnn.PiecewiseEmbedding.of(np.ones(3)), ValueError, r"X must have rows and columns, got shape \(3,\)"),
    (lambda: cnn.PiecewiseEmbedding.of(X, bins=0), ValueError, "bins of PiecewiseEmbedding must be an integer >= 1"),
    (lambda: cnn.PiecewiseEmbedding.of([[0.0], [np.nan]]), ValueError, "X"),
    (lambda: cnn.GaussianNoise(-0.1), ValueError, r"stddev of GaussianNoise must be in \[0, inf\), got -0.1"),
    (lambda: cnn.Network([cnn.Add(1), cnn.Dense(2)]), ValueError,
     r"layer 0, Add\(span=1\), reaches back 1 layers, and there are 0 before it"),
    (lambda: network(cnn.Residual([cnn.Dense(4)])), ValueError,
     r"layer 1, Add\(span=1\), adds 5 numbers, which layer 0 reads, to 4: a residual block must give as many units"),
    (lambda: cnn.Network([cnn.Dense(2), cnn.LayerNorm()]), ValueError, "the last layer must be a cnn.Dense, got Layer"),
    (lambda: cnn.Network([cnn.Residual([cnn.Dense(2)])]), ValueError, "the last layer must be a cnn.Dense, got Resid"),
    (lambda: cnn.to_torch(network(cnn.Residual([cnn.Dense(5)]))), ValueError, r"layer 1, Add\(span=1\), is not known"),
])  # fmt: skip
def test_what_can_not_be_is_said(make: Any, kind: type[Exception], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(from_numpy=lambda array: array, nn=None))
    with pytest.raises(kind, match=text):
        make()


def test_what_pytorch_has_a_module_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the arguments that PyTorch documents."""
    nn = types.SimpleNamespace(
        LayerNorm=lambda n, eps, dtype: ("LayerNorm", n, eps), Linear=lambda n, k, bias, dtype: ("Linear", n, k, bias),
        PReLU=lambda n, dtype: ("PReLU", n), Tanh=lambda: "Tanh", Sequential=Sequential,
        BatchNorm1d=lambda n, eps, momentum, dtype: ("BatchNorm1d", n, eps, momentum),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(from_numpy=lambda array: array, nn=nn))
    net = network(cnn.LayerNorm(1e-3), cnn.Dense(4), cnn.PReLU())
    net.layers[0].weights[...], net.layers[2].weights[...] = np.arange(5), np.arange(4)
    model = cnn.to_torch(net)
    assert list(model) == [("LayerNorm", 5, 1e-3), ("Linear", 5, 4, True), ("PReLU", 4), ("Linear", 4, 2, True)]
    assert (model.state["0.weight"].tolist(), model.state["2.weight"].tolist()) == ([0, 1, 2, 3, 4], [0, 1, 2, 3])
    again = cnn.from_torch_state_dict(cnn.Network(net.descriptions, dtype="float64"), model.state)
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    net = network(cnn.BatchNorm(1e-3, 0.3, "tanh"), cnn.Dense(4))
    net.fit(X, X[:, :2], epochs=3, verbose=0)
    model = cnn.to_torch(net)
    linear = [("Linear", 5, 4, True), ("Linear", 4, 2, True)]
    assert list(model) == [("BatchNorm1d", 5, 1e-3, 0.3), "Tanh", *linear]
    assert list(model.state)[:4] == [f"0.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    with pytest.raises(ValueError, match="PyTorch has no module for the activation squareplus"):
        cnn.to_torch(network(cnn.BatchNorm(activation="squareplus")))
    state = model.state | {"0.num_batches_tracked": np.array(6)}  # as PyTorch writes it
    again = cnn.from_torch_state_dict(cnn.Network(net.descriptions, dtype="float64"), state)
    assert again.predict(X).tobytes() == net.predict(X).tobytes()


class Sequential(list):  # type: ignore[type-arg]
    """Stands in for PyTorch's."""

    def __init__(self, *modules: Any) -> None:
        super().__init__(modules)

    def load_state_dict(self, state: Any) -> None:
        self.state = state

    def eval(self) -> Any:
        return self


def test_a_layer_that_was_added_to_a_plan_has_its_place() -> None:
    made = build([cnn.Dense(3), cnn.Add(1), cnn.Dense(1)], 3, cnn.losses.get("mse"), cnn.Adam())
    assert made.layers["source"].tolist() == [-1, 0, -1]
    assert made.layers["branches"].tolist() == [1, 0, 0]
