"""Descriptions of layers, activations and losses: what they take, how they read, what they say of mistakes."""

from __future__ import annotations

import dataclasses
import pickle
import typing

import numpy as np
import pytest
import reference

import cnn_core
from cnn import activations, initializers, losses, metrics, optimizers, schedules
from cnn._common import naming, types
from cnn.activations import Activation
from cnn.initializers import Initializer
from cnn.layers import Dense, Dropout
from cnn.losses import BinaryCrossEntropy, CrossEntropy, Huber, Loss, Quantile
from cnn.runtime import plan

ACTIVATIONS = [kind.name.lower() for kind in cnn_core.Activation]
LOSSES = [kind.name.lower() for kind in cnn_core.Loss]
WITH_ALPHA = {name: alphas[0] for name, alphas in reference.ALPHAS.items()}

DESCRIPTIONS = [
    *(Activation(name) for name in ACTIVATIONS),
    *(Activation(name, 0.25) for name in WITH_ALPHA),
    *(Dense(3, name) for name in (*ACTIVATIONS, "auto", "softmax")),
    Dense(8, Activation("elu", alpha=0.5), initializer=Initializer("normal", 0.1), bias_initializer="ones"),
    Dense(1, use_bias=False, l1=0.1, l2=0.2, bias_l1=0.3, bias_l2=0.4),
    Dense(2, learning_rate_factor=(0.5, 2), decay_factor=0),
    Dropout(0.0),
    Dropout(0.25),
]


@pytest.mark.parametrize("description", DESCRIPTIONS, ids=repr)
def test_repr_reads_back(description):
    again = eval(repr(description))
    assert again == description
    assert hash(again) == hash(description)
    assert repr(again) == repr(description)
    assert dataclasses.replace(description) == pickle.loads(pickle.dumps(description)) == description
    field = dataclasses.fields(description)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(description, field, getattr(description, field))


def test_numbers_of_numpy_are_plain_inside():
    given = Dense(np.int64(4), l2=np.float32(0.5), use_bias=np.bool_(False))
    assert repr(given) == repr(Dense(4, l2=0.5, use_bias=False))
    assert Dense(4, decay_factor=[2, 2]) == Dense(4, decay_factor=2.0)  # one number where both are alike
    assert repr(Dense(4, decay_factor=(np.int64(1), 0))).endswith("bias_l2=0.0, decay_factor=(1.0, 0.0))")
    assert repr(Dropout(np.float32(0.5))) == "Dropout(rate=0.5)"
    assert repr(Activation("elu", np.float32(0.5))) == "Activation(name='elu', alpha=0.5)"


# Activations ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    made = activations.get(name.upper().replace("_", " "))
    assert made == Activation(name)
    assert activations.get(made) is made
    assert made.kind == cnn_core.Activation[name.upper()]
    assert made.value == WITH_ALPHA.get(name, 0.0)
    if name in WITH_ALPHA:
        assert Activation(name, 0.25).value == 0.25
        with pytest.raises(ValueError, match=f"alpha of {name} must be in .0, inf., got -1"):
            Activation(name, -1)
    else:
        with pytest.raises(ValueError, match=f"activation '{name}' takes no alpha, got 0.25"):
            Activation(name, 0.25)


def test_alpha_at_its_bound():
    assert Activation("leaky_relu", 0).value == 0
    for name in ("elu", "celu"):
        with pytest.raises(ValueError, match=rf"alpha of {name} must be in \(0, inf\), got 0"):
            Activation(name, 0)


@pytest.mark.parametrize(
    ("alias", "name"),
    [("linear", "identity"), ("None", "identity"), ("logistic", "sigmoid"), ("swish", "silu"), ("SiLU", "silu"),
     ("LeakyReLU", "leaky_relu"), ("leaky-relu", "leaky_relu"), ("HardTanh", "hard_tanh"), ("hardswish", "hard_swish"),
     ("hardsigmoid", "hard_sigmoid"), ("ReLU6", "relu6"), (" GELU ", "gelu")],
)  # fmt: skip
def test_activation_aliases(alias, name):
    assert activations.get(alias) == Activation(name)


def test_activation_errors():
    with pytest.raises(ValueError, match=r"unknown activation 'rellu'\. Did you mean 'relu'\? Known: celu, elu"):
        activations.get("rellu")
    with pytest.raises(ValueError, match=r"unknown activation 'zzz'\. Known: celu"):
        activations.get("zzz")
    with pytest.raises(TypeError, match=r"activation must be a name or a cnn\.Activation, got 1"):
        activations.get(1)
    with pytest.raises(TypeError, match="the name of an activation must be a string, got 1"):
        Activation(1)


# Losses ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", [*map(Loss, LOSSES), Huber(2.0), Quantile(0.1), CrossEntropy(0.2), BinaryCrossEntropy(0.3)]
)
def test_loss(loss):
    assert eval(repr(loss)) == loss
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert dataclasses.replace(loss) == loss
    assert losses.get(loss) is loss
    assert hash(loss) == hash(eval(repr(loss)))
    spec = loss.spec(5)
    assert spec.dtype == cnn_core.loss_dtype
    assert (spec["kind"][0], spec["n_outputs"][0]) == (cnn_core.Loss[loss.name.upper()], 5)
    assert loss.link == reference.LINK_OF.get(loss.name, "identity")
    assert loss.target == reference.TARGETS.get(loss.name, "real")


def test_a_table_has_the_facts_of_every_activation_and_loss():
    assert set(activations.FACTS) == set(ACTIVATIONS)
    assert set(losses.FACTS) == set(LOSSES)
    for loss in map(Loss, LOSSES):
        target = reference.TARGETS.get(loss.name, "real")
        assert loss.for_classes == (target in ("binary", "classes", "sign"))
        assert (loss.one_class, loss.margins) == (target == "classes", target == "sign")
        assert loss.raw == (target == "sign" or loss.name in reference.LINK_OF)


def test_loss_parameters_reach_the_spec():
    assert Huber(2.0).spec(1)["parameter"] == 2.0
    assert Loss("huber").spec(1)["parameter"] == 1.0
    assert Quantile(0.1).spec(1)["parameter"] == 0.1
    assert Loss("quantile").spec(1)["parameter"] == 0.5
    assert CrossEntropy(0.2).spec(3)["smoothing"] == 0.2
    assert BinaryCrossEntropy(0.3).spec(1)["smoothing"] == 0.3
    assert Huber(np.float32(0.5)) == Huber(0.5)
    assert repr(Huber(np.float32(0.5))) == "Huber(delta=0.5)"


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_found_however_written(name):
    for written in (name.upper(), name.title(), f" {name} ", name.replace("_", "-")):
        assert losses.get(written).name == name


@pytest.mark.parametrize(
    ("alias", "name"),
    [("pinball", "quantile"), ("log_loss", "cross_entropy"), ("bce", "binary_cross_entropy"), ("logcosh", "log_cosh")],
)
def test_loss_aliases(alias, name):
    assert losses.get(alias) == Loss(name)
    assert losses.get(alias).name == name


def test_loss_errors():
    with pytest.raises(ValueError, match=r"unknown loss 'cros_entropy'. Did you mean 'cross_entropy'\? Known: .*hinge"):
        losses.get("cros_entropy")
    with pytest.raises(TypeError, match=r"loss must be a name or a cnn\.Loss, got 3"):
        losses.get(3)
    with pytest.raises(TypeError, match="must be a string, got None"):
        Loss(None)
    with pytest.raises(ValueError, match=r"delta of Huber must be in \(0, inf\), got 0"):
        Huber(0)
    for q in (0, 1, -0.5, np.nan):
        with pytest.raises(ValueError, match=r"q of Quantile must be in \(0, 1\), got"):
            Quantile(q)
    for made in (CrossEntropy, BinaryCrossEntropy):
        with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got 1"):
            made(1)
        with pytest.raises(TypeError, match="label_smoothing must be a number, got 'a' of type str"):
            made("a")


# Layers ---------------------------------------------------------------------------------------------------------------


def test_dense_keeps_the_usual_names():
    assert Dense(2, "Swish", initializer="Xavier", bias_initializer="zero") == Dense(2, "silu", "glorot_uniform")
    assert repr(Dense(2, "Swish")) == repr(Dense(2, "silu"))
    assert Dense(2, Activation("relu")).activation == "relu"
    assert Dense(2, initializer="he").initializer == "he_normal"
    assert Dense(2, " SoftMax ").activation == "softmax"
    assert Dense(2, "AUTO").activation == "auto"


@pytest.mark.parametrize(
    ("activation", "loss"),
    [("Sigmoid", "bce"), ("logistic", "bce"), ("SoftMax", "cross_entropy"), ("linear", "mse"), ("identity", "bce")],
)
def test_a_last_layer_that_names_the_link_leaves_it_to_the_loss(activation, loss):
    made = plan.build([Dense(2, activation)], 3, losses.get(loss), optimizers.get("sgd"))
    assert made.layers["activation"][0] == cnn_core.Activation.IDENTITY
    other = plan.build([Dense(2, "tanh")], 3, losses.get(loss), optimizers.get("sgd"))
    assert other.layers["activation"][0] == cnn_core.Activation.TANH


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Dense(0), ValueError, "units must be an integer >= 1, got 0"),
        (lambda: Dense(2.0), TypeError, r"units must be an integer >= 1, got 2\.0 of type float"),
        (lambda: Dense(True), TypeError, "units must be an integer >= 1, got True of type bool"),
        (lambda: Dense(2, "tnah"), ValueError, "unknown activation 'tnah'. Did you mean 'tanh'"),
        (lambda: Dense(2, None), TypeError, r"activation must be a name or a cnn\.Activation, got None"),
        (lambda: Dense(2, initializer="glorott"), ValueError, "unknown initializer 'glorott'. Did you mean"),
        (lambda: Dense(2, bias_initializer="he"), ValueError,
         "bias_initializer must be one of uniform, normal, zeros, ones, constant, got 'he_normal'"),
        (lambda: Dense(2, bias_initializer="orthogonal"), ValueError, "bias_initializer must be .* 'orthogonal'"),
        (lambda: Dense(2, use_bias=1), TypeError, "use_bias must be True or False, got 1 of type int"),
        (lambda: Dense(2, l1=-1), ValueError, r"l1 must be in \[0, inf\), got -1"),
        (lambda: Dense(2, bias_l2="a"), TypeError, "bias_l2 must be a number, got 'a' of type str"),
        (lambda: Dense(2, decay_factor=-1), ValueError, r"decay_factor must be in \[0, inf\), got -1"),
        (lambda: Dense(2, decay_factor=(1, -1)), ValueError, r"decay_factor of the biases must be in \[0, inf\)"),
        (lambda: Dense(2, learning_rate_factor=(1, 2, 3)), ValueError,
         r"learning_rate_factor must be a number or a pair of them \(weights, biases\), got \(1, 2, 3\)"),
        (lambda: Dense(2, learning_rate_factor="a"), TypeError, "learning_rate_factor must be a number, got 'a'"),
        (lambda: Dense(2, learning_rate_factor=("a", 1)), TypeError, "learning_rate_factor of the weights must be"),
        (lambda: Dropout(1), ValueError, r"rate of Dropout must be in \[0, 1\), got 1"),
        (lambda: Dropout(np.nan), ValueError, r"rate of Dropout must be in \[0, 1\), got nan"),
    ],
)  # fmt: skip
def test_layer_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()


# Names ----------------------------------------------------------------------------------------------------------------


def test_every_name_and_every_typo_of_it_is_told():
    """One letter left out of a long name is enough to be told that very name."""
    known = {
        activations: activations.NAMES,
        losses: losses.NAMES,
        optimizers: tuple(optimizers.BY_NAME),
        initializers: initializers.NAMES,
    }
    for module, names in known.items():
        for name in names:
            assert type(module.get(name)).__module__ == module.__name__
            if len(name) > 6:
                with pytest.raises(ValueError, match=f"Did you mean '{name}'"):
                    module.get(name[:3] + name[4:] + "q")


def test_type_checkers_know_the_names_that_are_taken():
    pairs = [
        (activations.ActivationName, {*activations.NAMES, *activations._ALIASES}),
        (losses.LossName, {*losses.NAMES, *losses._ALIASES}),
        (types.InitializerName, {*initializers.NAMES, *initializers._ALIASES}),
        (types.OptimizerName, {*optimizers.BY_NAME}),
        (types.ScheduleName, {*schedules.BY_NAME}),
        (types.MetricName, {*metrics.BY_NAME, *metrics._ALIASES}),
    ]
    for literal, names in pairs:
        assert set(typing.get_args(literal)) == names


def test_unknown_without_a_near_name():
    assert str(naming.unknown("thing", "xyz", ["alpha", "beta"])) == "unknown thing 'xyz'. Known: alpha, beta."
