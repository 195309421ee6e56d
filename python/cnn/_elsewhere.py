"""What other libraries (Keras, PyTorch, scikit-learn) call it, and what it is called here."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# What other libraries call it (Keras, PyTorch, scikit-learn), and what it is called here.
ELSEWHERE = {
    "acc": "accuracy", "auc": "roc_auc", "categorical_accuracy": "accuracy", "binary_accuracy": "accuracy",
    "nll": "cross_entropy", "nll_loss": "cross_entropy", "nlloss": "cross_entropy",
    "bcewithlogits": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy", "bceloss": "binary_cross_entropy", "mseloss": "mse", "l1loss": "mae",
    "crossentropyloss": "cross_entropy", "smooth_l1": "huber", "smoothl1loss": "huber", "kld": "cross_entropy",
    "lr": "learning_rate", "restore_best_weights": "restore_best", "kernel_initializer": "initializer",
    "kernel_regularizer": "l2", "bias_regularizer": "bias_l2", "bias": "use_bias", "out_features": "units",
    "betas": "beta_1", "eps": "epsilon", "nb_epoch": "epochs", "n_epochs": "epochs", "num_epochs": "epochs",
    "max_epochs": "epochs", "validation_set": "validation_data", "eval_set": "validation_data",
    "sample_weights": "sample_weight",
    "class_weights": "class_weight", "weights": "sample_weight", "clipnorm": "clip_norm", "clipvalue": "clip_value",
    "grad_clip": "clip_norm", "decay": "weight_decay", "filepath": "path", "save_best_only": "monitor",
    "random_state": "seed", "p": "rate", "n_jobs": "n_threads", "device": "n_threads",
}  # fmt: skip
# Methods of networks elsewhere.
METHODS = {
    "compile": "loss and optimizer are arguments of cnn.Network, metrics one of fit and evaluate",
    "add": "layers are given as a list: cnn.Network([cnn.Dense(8, 'relu'), cnn.Dense(1)])",
    "train": "net.fit trains; dropout is on in it, and off in predict",
    "eval": "there is no mode: dropout is on in fit alone",
    "state_dict": "net.get_weights(), or cnn.to_torch_state_dict(net)",
    "load_state_dict": "net.set_weights(weights), or cnn.from_torch_state_dict(net, state)",
    "load_weights": "cnn.load(path)", "save_weights": "net.save(path)", "zero_grad": "gradients are new in each call",
    "to": "all runs on the CPU; dtype is an argument of cnn.Network", "cuda": "all runs on the CPU",
    "cpu": "all runs on the CPU already", "predict_proba": "predict gives probabilities, predict_classes classes",
    "predict_on_batch": "predict", "train_on_batch": "loss_and_gradient and update, or fit with epochs=1",
    "train_step": "loss_and_gradient and update", "score": "evaluate",
    "partial_fit": "fit goes on where the last one ended",
    "transform": "predict, or forward for raw outputs", "count_params": "net.plan.size; net.summary() shows all",
    "trainable_weights": "net.parameters", "weights": "net.parameters", "get_config": "net.descriptions",
    "fit_generator": "fit",
}  # fmt: skip


def normalise(name: str) -> str:
    """`LeakyReLU`, `leaky-relu` and `leaky relu` are all `leaky_relu`'s to find: lower case, underscores."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def nearest(name: str, known: Iterable[str]) -> str:
    """What may have been meant: what it is called here, or a known name that differs by little; empty if none does.

    >>> nearest("sigmod", ["sigmoid", "tanh"]), nearest("gamma", ["mae", "mse"]), nearest("val_acc", ["val_accuracy"])
    ('sigmoid', '', 'val_accuracy')
    """
    names, plain = list(known), normalise(name)
    for theirs, ours in ELSEWHERE.items():
        for prefix in ("", "val_"):
            if plain == prefix + theirs and prefix + ours in names:
                return prefix + ours
    found = difflib.get_close_matches(plain, names, n=1, cutoff=0.6)
    return found[0] if found else ""


def told(function: Callable[P, R]) -> Callable[P, R]:
    """The function; an argument that it does not have is answered by what it is called here."""
    names = [name for name in inspect.signature(function).parameters if name != "self"]

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in names:
                near = nearest(name, names)
                what = function.__qualname__.removesuffix(".__init__")
                hint = f": here it is {near!r}" if near else ""
                raise TypeError(f"{what} has no argument {name!r}{hint}; it has {', '.join(names)}")
        return function(*args, **kwargs)

    return call


class Told:
    """A class whose missing methods are answered by what they are called here."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if isinstance(own := getattr(type(self), name, None), property):
                return own.__get__(self)  # it raised an AttributeError of its own: let that be seen
            what = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(f"{what}: {METHODS[name]}" if name in METHODS else what)

        def __call__(self, *_: object, **__: object) -> Any:
            raise TypeError(
                f"a {type(self).__name__} is not called: net.predict(X) gives predictions, net.forward(X) raw outputs"
            )
