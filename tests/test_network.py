"""`Network`: passes against the reference and central differences; weights, copies, files."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
import reference
import scipy.sparse
from helpers import ACTIVATIONS, LOSSES, error, reference_gradient, same_bits, targets

import cnn
from cnn.activations import Activation

# Where some derivative jumps.
KINKED = {"relu", "leaky_relu", "relu6", "elu", "selu", "celu", "softsign", "hard_sigmoid", "hard_swish", "hard_tanh",
          "mae", "huber", "quantile", "hinge"}  # fmt: skip


def network(
    activation: object = "tanh", loss: object = "mse", k: int = 3, seed: int = 3, **options: object
) -> cnn.Network:
    """For k targets."""
    k = reference.n_outputs(cnn.losses.get(loss).name, k)
    layers = [cnn.Dense(7, activation), cnn.Dense(5, activation, bias_initializer="normal"), cnn.Dense(k)]
    return cnn.Network(layers, loss=loss, dtype="float64", seed=seed, **options).build(4)


def numeric_gradient(net: cnn.Network, X: np.ndarray, y: np.ndarray, h: float) -> dict[str, np.ndarray]:
    """Central differences of fourth order, whose own error is far below what is asked of the gradient."""
    found = {}
    for name, parameter in net.parameters.items():
        g = np.empty(parameter.size)
        flat = parameter.reshape(-1)
        for i in range(parameter.size):
            kept, loss = flat[i], []
            for k in (1, -1, 2, -2):
                flat[i] = kept + k * h
                loss.append(net.loss_and_gradient(X, y)[0])
            flat[i] = kept
            g[i] = (8 * (loss[0] - loss[1]) - (loss[2] - loss[3])) / (12 * h)
        found[name] = g.reshape(parameter.shape)
    return found


@pytest.mark.parametrize(("activation", "loss"), [*itertools.product(ACTIVATIONS, LOSSES)])
def test_the_gradient_is_that_of_central_differences(activation: str, loss: str) -> None:
    rng = np.random.default_rng([ACTIVATIONS.index(activation), LOSSES.index(loss)])
    net = network(activation, loss)
    X, y = rng.normal(size=(6, 4)), targets(loss, 6, 3, rng)
    analytic = net.loss_and_gradient(X, y)[1]
    # Where there are kinks a wider step crosses one; where there are none it loses fewer digits.
    kinked = activation in KINKED or loss in KINKED
    numeric = numeric_gradient(net, X, y, 2e-6 if kinked else 1e-3)
    whole = [np.concatenate([g[name].ravel() for name in net.parameters]) for g in (analytic, numeric)]
    assert error(*whole) <= 1e-7


@pytest.mark.parametrize(("activation", "loss"), [*itertools.product(ACTIVATIONS, LOSSES)])
def test_loss_and_gradient_are_the_references(activation: str, loss: str) -> None:
    rng = np.random.default_rng(1)
    net = network(activation, loss)
    X, y, w = rng.normal(size=(33, 4)), targets(loss, 33, 3, rng), rng.uniform(0, 2, 33)
    for weights in (None, w):
        value, gradient = net.loss_and_gradient(X, y, weights)
        expected, expected_gradient = reference_gradient(net, X, y, weights)
        assert value == pytest.approx(expected, rel=1e-13)
        for name, g in gradient.items():
            np.testing.assert_allclose(g, expected_gradient[name], rtol=1e-10, atol=1e-14, err_msg=name)


@pytest.mark.parametrize(
    "loss", [cnn.Huber(0.3), cnn.Quantile(0.9), cnn.CrossEntropy(0.1), cnn.BinaryCrossEntropy(0.2)], ids=repr
)
def test_losses_with_parameters(loss: cnn.Loss) -> None:
    rng = np.random.default_rng(2)
    net = network(Activation("leaky_relu", alpha=0.3), loss)
    X, y = rng.normal(size=(20, 4)), targets(loss.name, 20, 3, rng)
    value, gradient = net.loss_and_gradient(X, y)
    expected, expected_gradient = reference_gradient(net, X, y)
    assert value == pytest.approx(expected, rel=1e-13)
    assert all(error(g, expected_gradient[name]) < 1e-13 for name, g in gradient.items())


def test_cross_entropy_takes_probabilities() -> None:
    rng = np.random.default_rng(0)
    net = network("tanh", "cross_entropy")
    X, y = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)
    a, b = net.loss_and_gradient(X, y), net.loss_and_gradient(X, np.eye(3)[y])
    assert a[0] == pytest.approx(b[0], rel=1e-14)
    assert all(error(a[1][name], b[1][name]) < 1e-14 for name in a[1])


@pytest.mark.parametrize(("n", "n_threads"), [(1, 1), (31, 2), (64, 3), (997, 1), (997, 3)])
def test_chunks_and_slabs_add_up(n: int, n_threads: int) -> None:
    """Batches so large that they are cut into many parts, with dropout, weights and penalties."""
    rng = np.random.default_rng(n)
    layers = [cnn.Dropout(0.2), cnn.Dense(64, "gelu", l2=0.01), cnn.Dense(40, "tanh", l1=0.001), cnn.Dropout(0.5),
              cnn.Dense(2)]  # fmt: skip
    net = cnn.Network(layers, dtype="float64", seed=5).build(20)
    X, y, w = rng.normal(size=(n, 20)), rng.normal(size=(n, 2)), rng.uniform(0.1, 1, n)
    for training in (False, True):
        value, gradient = net.loss_and_gradient(X, y, w, training=training, n_threads=n_threads)
        expected, expected_gradient = reference_gradient(net, X, y, w, training)
        assert value == pytest.approx(expected, rel=1e-12)
        assert all(error(g, expected_gradient[name]) < 1e-12 for name, g in gradient.items())


def test_penalties_of_weights_and_biases() -> None:
    layers = [cnn.Dense(6, "tanh", l1=0.02, l2=0.03, bias_l1=0.05, bias_initializer="normal"),
              cnn.Dense(4, "sigmoid", bias_l2=0.07, bias_initializer="normal"), cnn.Dense(1, l2=0.01)]  # fmt: skip
    net = cnn.Network(layers, dtype="float64", seed=0).build(3)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(9, 3)), rng.normal(size=9)
    p = net.parameters
    by_hand = (
        0.02 * np.abs(p["layers.0.weights"]).sum() + 0.03 * (p["layers.0.weights"] ** 2).sum()
        + 0.05 * np.abs(p["layers.0.biases"]).sum() + 0.07 * (p["layers.1.biases"] ** 2).sum()
        + 0.01 * (p["layers.2.weights"] ** 2).sum()
    )  # fmt: skip
    loss, gradient = net.loss_and_gradient(X, y)
    assert loss - np.mean((net.forward(X)[:, 0] - y) ** 2) == pytest.approx(by_hand, rel=1e-12)
    assert net.evaluate(X, y)["loss"] == pytest.approx(loss, rel=1e-14)
    expected = reference_gradient(net, X, y)[1]
    assert all(error(gradient[name], expected[name]) < 1e-13 for name in gradient)


def test_integer_weights_are_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    net = network("silu")
    X, y, w = rng.normal(size=(40, 4)), rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
    weighted, repeated = net.loss_and_gradient(X, y, w), net.loss_and_gradient(np.repeat(X, w, 0), np.repeat(y, w, 0))
    assert weighted[0] == pytest.approx(repeated[0], rel=1e-14)
    assert all(error(weighted[1][name], repeated[1][name]) < 1e-14 for name in weighted[1])
    a, b = net.evaluate(X, y, w), net.evaluate(np.repeat(X, w, 0), np.repeat(y, w, 0))
    assert a == pytest.approx(b, rel=1e-13)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("n", [1, 50, 700])
def test_backward_gives_the_input_gradient_and_the_parameters(training: bool, n: int) -> None:
    rng = np.random.default_rng(0)
    layers = [cnn.Dropout(0.3), cnn.Dense(70, "gelu"), cnn.Dropout(0.2), cnn.Dense(20, "softplus"), cnn.Dense(2)]
    net = cnn.Network(layers, dtype="float64", seed=1).build(50)
    X, y = rng.normal(size=(n, 50)), rng.normal(size=(n, 2))
    out = net.forward(X, training=training, n_threads=2)
    dX = net.backward((out - y) / n)  # of mse over two outputs
    _, gradient = net.loss_and_gradient(X, y, training=training)
    assert all(error(net.gradients[name], gradient[name]) < 1e-13 for name in gradient)
    h, direction = 1e-5, rng.normal(size=X.shape)

    def loss(t: float) -> float:
        return float(np.mean((net.forward(X + t * direction, training=training) - y) ** 2))

    assert np.sum(dX * direction) == pytest.approx((loss(h) - loss(-h)) / (2 * h), rel=1e-7)


def test_forward_backward_may_be_repeated_and_says_when_there_is_none() -> None:
    net = network()
    with pytest.raises(RuntimeError, match=r"call forward\(X\) first"):
        net.backward(np.zeros((2, 3)))
    with pytest.raises(RuntimeError, match="there are no gradients yet"):
        _ = net.gradients
    net.forward(np.ones((2, 4)))
    a, b = net.backward(np.ones((2, 3))), net.backward(np.ones((2, 3)))
    assert a.tobytes() == b.tobytes()


def test_dropout_depends_on_the_step_and_is_off_in_prediction() -> None:
    net = cnn.Network([cnn.Dense(50, "relu"), cnn.Dropout(0.5), cnn.Dense(1)], optimizer=cnn.SGD(0.0), seed=0).build(3)
    X = np.random.default_rng(0).normal(size=(20, 3))
    first, again = net.forward(X, training=True), net.forward(X, training=True)
    assert first.tobytes() == again.tobytes()
    net.fit(X, np.zeros(20), epochs=1, verbose=0)  # a rate of 0: only the step moves on
    assert first.tobytes() != net.forward(X, training=True).tobytes()
    np.testing.assert_array_equal(net.forward(X)[:, 0], net.predict(X))


@pytest.mark.parametrize(("loss", "k", "link"), [
    ("cross_entropy", 3, lambda f: np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)),
    ("binary_cross_entropy", 2, lambda f: 1 / (1 + np.exp(-f))), ("poisson", 2, np.exp), ("mse", 2, lambda f: f),
])  # fmt: skip
def test_predict_applies_the_losses_link(loss: str, k: int, link) -> None:
    net = network("tanh", loss, k=k)
    X = np.random.default_rng(0).normal(size=(10, 4))
    np.testing.assert_allclose(net.predict(X), link(net.forward(X)), rtol=1e-13)


def test_a_last_layer_may_name_the_losses_link() -> None:
    X = np.random.default_rng(0).normal(size=(10, 4))
    for loss, name in (("cross_entropy", "softmax"), ("binary_cross_entropy", "logistic")):
        a = cnn.Network([cnn.Dense(3, name)], loss=loss, seed=0).build(4)
        b = cnn.Network([cnn.Dense(3)], loss=loss, seed=0).build(4)
        assert a.predict(X).tobytes() == b.predict(X).tobytes()


def test_predict_is_one_dimensional_after_a_fit_to_such_targets() -> None:
    X, y = np.ones((8, 2)), np.ones(8)
    for target, shape in ((y, (8,)), (y[:, None], (8, 1))):
        net = cnn.Network([cnn.Dense(1)], seed=0)
        net.fit(X, target, epochs=1, verbose=0)
        assert net.predict(X).shape == shape


def test_predict_classes() -> None:
    X = np.random.default_rng(0).normal(size=(30, 4))
    net = network("tanh", "cross_entropy")
    np.testing.assert_array_equal(net.predict_classes(X), net.predict(X).argmax(axis=1))
    net = network("tanh", "binary_cross_entropy", k=2)
    np.testing.assert_array_equal(net.predict_classes(X), net.forward(X) >= 0)
    net = network("tanh", "hinge", k=1)
    np.testing.assert_array_equal(net.predict_classes(X), np.where(net.forward(X) >= 0, 1, -1))


# Weights, copies, files -----------------------------------------------------------------------------------------------

def test_layers_are_views_of_the_parameters() -> None:
    net = network()
    W = np.arange(28.0).reshape(4, 7)
    net.layers[0].weights[...] = W
    net.layers[0].biases = np.arange(7)
    np.testing.assert_array_equal(net.get_weights()["layers.0.weights"], W)
    X = np.random.default_rng(0).normal(size=(5, 4))
    a = np.tanh(X @ W + np.arange(7))
    a = np.tanh(a @ net.layers[1].weights + net.layers[1].biases)
    np.testing.assert_allclose(net.forward(X), a @ net.layers[2].weights + net.layers[2].biases, rtol=1e-12)
    layer = net.layers[0]
    assert (layer.n_inputs, layer.n_units, layer.units, layer.activation, layer.name) == (4, 7, 7, "tanh", "layers.0")
    assert layer.description is net.descriptions[0]


def test_no_biases() -> None:
    layers = [cnn.Dense(3, "tanh", use_bias=False), cnn.Dense(1, use_bias=False)]
    net = cnn.Network(layers, dtype="float64", seed=0).build(2)
    assert set(net.parameters) == {"layers.0.weights", "layers.1.weights"}
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(9, 2)), rng.normal(size=9)
    gradient, expected = net.loss_and_gradient(X, y)[1], reference_gradient(net, X, y)[1]
    assert all(error(gradient[name], expected[name]) < 1e-13 for name in expected)
    with pytest.raises(AttributeError, match="has no biases"):
        _ = net.layers[0].biases


def test_get_and_set_weights() -> None:
    a, b = network(seed=1), network(seed=2)
    kept = a.get_weights()
    kept["layers.0.weights"][...] = 0  # a copy
    assert a.layers[0].weights.any()
    b.set_weights(a.get_weights())
    assert a.flat.tobytes() == b.flat.tobytes()
    b.set_weights({"layers.2.biases": [1, 2, 3]}, partial=True)
    np.testing.assert_array_equal(b.layers[2].biases, [1, 2, 3])


def test_descriptions_are_shared_and_never_changed() -> None:
    layers = [cnn.Dense(4, "relu"), cnn.Dropout(0.1), cnn.Dense(1)]
    before = repr(layers)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    alone = cnn.Network(layers, seed=0)
    alone.fit(X, y, epochs=3, verbose=0)
    a, b = cnn.Network(layers, seed=0), cnn.Network(layers, seed=1)
    b.fit(X, y, epochs=2, verbose=0)
    a.fit(X, y, epochs=3, verbose=0)
    assert same_bits(a, alone)
    assert repr(layers) == before


def test_the_seed_decides_and_is_drawn_when_not_given() -> None:
    def flat(seed: int | None) -> bytes:
        return cnn.Network([cnn.Dense(3)], seed=seed).build(4).flat.tobytes()

    assert flat(0) == flat(0) != flat(1)
    assert flat(None) != flat(None)
    drawn = cnn.Network([cnn.Dense(3)]).build(4)
    assert flat(drawn.seed) == drawn.flat.tobytes()
    assert flat(2**64 - 1)


@pytest.mark.parametrize("how", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))])
@pytest.mark.parametrize("optimizer", ["adam", "nadam", cnn.SGD(0.1, momentum=0.9)])
def test_copies_go_on_bit_for_bit_and_apart(how, optimizer) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 4)), rng.normal(size=90)
    net = cnn.Network([cnn.Dense(8, "gelu"), cnn.Dropout(0.2), cnn.Dense(1)], optimizer=optimizer, seed=0)
    net.fit(X, y, epochs=3, batch_size=32, verbose=0)
    twin = how(net)
    assert twin.flat.ctypes.data % 64 == 0
    net.fit(X, y, epochs=3, batch_size=32, verbose=0)
    assert (twin.epoch, twin.step) == (3, 9)
    twin.fit(X, y, epochs=3, batch_size=32, verbose=0)
    assert same_bits(net, twin)
    assert net.history.loss == twin.history.loss
    assert net.predict(X).tobytes() == twin.predict(X).tobytes()


def test_an_unbuilt_network_can_be_copied() -> None:
    net = pickle.loads(pickle.dumps(cnn.Network([cnn.Dense(2)], seed=4)))
    assert net.known_inputs is None
    assert net.build(3).flat.tobytes() == cnn.Network([cnn.Dense(2)], seed=4).build(3).flat.tobytes()


def test_repr_reads_back() -> None:
    names = {name: getattr(cnn, name) for name in cnn.__all__}
    net = cnn.Network([cnn.Dense(3, Activation("elu", 0.5), l2=0.1), cnn.Dropout(0.2), cnn.Dense(2)],
                      loss=cnn.CrossEntropy(0.1), optimizer=cnn.Adam(cnn.schedules.Cosine(0.1)), seed=3)  # fmt: skip
    again = eval(repr(net), {**names, **vars(cnn.schedules)})
    assert repr(again) == repr(net)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [cnn.Huber(0.3), cnn.CrossEntropy(0.1), "binary_cross_entropy"])
def test_save_and_load(tmp_path, dtype: str, loss) -> None:
    layers = [cnn.Dense(6, Activation("elu", 0.7), l1=0.1, decay_factor=(0.5, 2.0)), cnn.Dropout(0.2),
              cnn.Dense(4, "selu", use_bias=False, learning_rate_factor=0.1), cnn.Dense(3)]  # fmt: skip
    schedule = cnn.schedules.WarmUp(cnn.schedules.Cosine(0.01), steps=5)
    net = cnn.Network(layers, loss=loss, optimizer=cnn.AdamW(schedule, clip_norm=1.0), dtype=dtype, seed=9).build(5)
    net.save(tmp_path / "model.cnn")
    again = cnn.load(tmp_path / "model.cnn")
    X = np.random.default_rng(0).normal(size=(20, 5))
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    assert repr(again) == repr(net)
    assert [p.name for p in tmp_path.iterdir()] == ["model.cnn"]  # no temporary file is left


def test_update_is_a_step_of_the_optimizer() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 4)), rng.normal(size=(64, 3))
    clipped = cnn.SGD(0.1, clip_value=0.05, clip_norm=0.1)
    for optimizer in (cnn.Adam(0.01, clip_value=0.02), cnn.SGD(0.1, momentum=0.9, clip_norm=0.1), clipped, cnn.Nadam()):
        a, b = network(optimizer=optimizer), network(optimizer=optimizer)
        for _ in range(3):
            a.update(a.loss_and_gradient(X, y)[1])
        b.fit(X, y, epochs=3, batch_size=None, shuffle=False, verbose=0)
        assert a.step == b.step == 3
        np.testing.assert_allclose(a.flat, b.flat, rtol=1e-12)
    a, before = network(optimizer=clipped), network(optimizer=clipped).flat
    gradients = {name: np.clip(g, -0.05, 0.05) for name, g in a.loss_and_gradient(X, y)[1].items()}
    norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
    assert norm > 0.1
    a.update(a.loss_and_gradient(X, y)[1])
    for name, g in gradients.items():
        old = cnn.runtime.arena.views(before, a.plan.names)[name]
        np.testing.assert_allclose(a.parameters[name], old - 0.1 * g * 0.1 / norm, rtol=1e-12)


def test_summary_and_repr(capsys) -> None:
    net = cnn.Network([cnn.Dense(8, "relu", l2=0.1), cnn.Dropout(0.5), cnn.Dense(1)], seed=0).build(3)
    net.summary()
    text = capsys.readouterr().out
    assert "Dense(8, 'relu', l2=0.1)" in text
    assert "Dropout(0.5)" in text
    assert "41 parameters, float32, 164 bytes" in text


def test_summary_of_images_has_the_shapes_of_outputs(capsys) -> None:
    layers = [cnn.Conv2D(6, 5, activation="relu"), cnn.Conv2D(4, 3, strides=2, activation="relu"), cnn.MaxPool2D(2),
              cnn.Flatten(), cnn.Dense(10)]  # fmt: skip
    net = cnn.Network(layers, seed=0).build((28, 20, 3))
    net.summary()
    found = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in found]
    assert cells[0] == ["layer", "description", "output", "parameters"]
    assert cells[1:3] == [["inputs", "28 x 20 x 3"], ["layers.0", "Conv2D(6, 5, 'relu')", "24 x 16 x 6", "456"]]
    assert cells[3] == ["layers.1", "Conv2D(4, 3, strides=2, activation='relu')", "11 x 7 x 4", "220"]
    assert [line[-2] for line in cells[4:7]] == ["5 x 3 x 4", "60", "10"]
    assert "28 x 20 x 3" in net._repr_html_()


@pytest.mark.parametrize("n", [0, 1, 17, 300])
@pytest.mark.parametrize("sparse_X", [False, True])
def test_layer_outputs_are_those_of_numpy(n: int, sparse_X: bool) -> None:
    """Dropout passes on what it gets, and X keeps its numbers."""
    X = np.random.default_rng(0).normal(size=(n, 5))
    X[X < 0] = 0
    layers = [cnn.Dropout(0.5), cnn.Dense(7, "tanh"), cnn.Dropout(0.2), cnn.Dense(3, "softplus"), cnn.Dense(2)]
    net = cnn.Network(layers, loss="cross_entropy", dtype="float64", seed=0).build(5)
    w = net.get_weights()
    first = np.tanh(X @ w["layers.1.weights"] + w["layers.1.biases"])
    second = np.log1p(np.exp(first @ w["layers.3.weights"] + w["layers.3.biases"]))
    expected = [X, first, first, second, second @ w["layers.4.weights"] + w["layers.4.biases"]]
    found = net.layer_outputs(scipy.sparse.csr_array(X) if sparse_X else X)
    assert len(found) == 5
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)
    found[0][...] = 7
    assert not (X == 7).any()
    with pytest.raises(ValueError, match="X has 4 columns"):
        net.layer_outputs(np.ones((2, 4)))
    with pytest.raises(cnn.NotBuiltError):
        cnn.Network([cnn.Dense(1)]).layer_outputs(X)
