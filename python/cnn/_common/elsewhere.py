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
    "nll": "cross_entropy", "nll_loss": "cross_entropy", "nllloss": "cross_entropy",
    "bcewithlogits": "binary_cross_entropy", "bcewithlogitsloss": "binary_cross_entropy", "huberloss": "huber",
    "kl_divergence": "cross_entropy", "kldivloss": "cross_entropy", "poissonnllloss": "poisson",
    "gaussiannllloss": "gaussian_nll",
    "cosineannealing": "cosine", "cosineannealinglr": "cosine", "cosinedecay": "cosine", "cosine_decay": "cosine",
    "onecyclelr": "one_cycle", "steplr": "step", "exponentiallr": "exponential", "exponentialdecay": "exponential",
    "exponential_decay": "exponential", "invscaling": "inverse_scaling", "inversetimedecay": "inverse_scaling",
    "bce_with_logits": "binary_cross_entropy", "bceloss": "binary_cross_entropy", "mseloss": "mse", "l1loss": "mae",
    "crossentropyloss": "cross_entropy", "smooth_l1": "huber", "smoothl1loss": "huber", "kld": "cross_entropy",
    "lr": "learning_rate", "restore_best_weights": "restore_best", "log_dir": "folder",
    "histogram_freq": "histograms", "update_freq": "steps", "kernel_initializer": "initializer",
    "kernel_regularizer": "l2", "bias_regularizer": "bias_l2", "bias": "use_bias", "out_features": "units",
    "betas": "beta_1", "eps": "epsilon", "nb_epoch": "epochs", "n_epochs": "epochs", "num_epochs": "epochs",
    "max_epochs": "epochs", "validation_set": "validation_data", "eval_set": "validation_data",
    "sample_weights": "sample_weight",
    "class_weights": "class_weight", "weights": "sample_weight", "clipnorm": "clip_norm", "clipvalue": "clip_value",
    "grad_clip": "clip_norm", "decay": "weight_decay", "filepath": "path", "save_best_only": "monitor",
    "random_state": "seed", "p": "rate", "n_jobs": "n_threads", "label": "target", "label_column": "target",
    "hidden_layers": "hidden", "hidden_layer_sizes": "hidden", "layers": "hidden", "n_estimators": "members",
    "batchsize": "batch_size", "validation_split": "valid", "validation_fraction": "valid", "n_trials": "budget",
    "seed": "random_state", "members": "n_estimators", "n_members": "n_estimators",
    "val_split": "validation_split", "val_data": "validation_data", "shuffling": "shuffle",
}  # fmt: skip
# Arguments whose place is another one here.
PLACES = {
    "batch_size": "it belongs to fit", "epochs": "it belongs to fit", "callbacks": "it belongs to fit",
    "validation_split": "it belongs to fit", "validation_data": "it belongs to fit", "verbose": "it belongs to fit",
    "class_weight": "it belongs to fit", "sample_weight": "it belongs to fit", "shuffle": "it belongs to fit",
    "metrics": "it belongs to fit and evaluate", "loss": "it belongs to cnn.Network",
    "optimizer": "it belongs to cnn.Network", "seed": "it belongs to cnn.Network",
    "learning_rate": "it belongs to the optimizer: cnn.Adam(learning_rate=0.001)",
    "lr": "it belongs to the optimizer: cnn.Adam(learning_rate=0.001)",
    "momentum": "it belongs to the optimizer: cnn.SGD(momentum=0.9)", "weight_decay": "it belongs to the optimizer",
    "clip_norm": "it belongs to the optimizer", "alpha": "penalties belong to the layers: cnn.Dense(8, l2=0.0001)",
    "patience": "it belongs to cnn.EarlyStopping", "early_stopping": "give fit callbacks=[cnn.EarlyStopping()]",
    "dropout": "it is a layer: cnn.Dropout(0.1)", "input_shape": "the number of inputs is taken from the data",
    "input_dim": "the number of inputs is taken from the data",
    "in_features": "the number of inputs is taken from the data",
    "device": "all runs on the CPU; fit takes n_threads", "workers": "fit takes n_threads",
    "trainable": "a layer that keeps its weights has learning_rate_factor=0",
    "hidden_layer_sizes": "layers are a list: cnn.Network([cnn.Dense(8, 'relu'), cnn.Dense(1)])",
}  # fmt: skip
# Names of other packages.
PACKAGE = {
    "Sequential": "cnn.Network", "Model": "cnn.Network", "Module": "cnn.Network", "Linear": "cnn.Dense",
    "Input": "none: the number of inputs is taken from the data", "ModelCheckpoint": "cnn.SaveModel or cnn.Checkpoint",
    "ReduceLROnPlateau": "cnn.ReduceOnPlateau",
    "BackupAndRestore": "cnn.Checkpoint", "load_model": "cnn.load",
    "save": "net.save(path)",
    "save_model": "net.save(path)", "optim": "cnn.optimizers",
    "manual_seed": "the argument seed of cnn.Network", "set_random_seed": "the argument seed of cnn.Network",
    "ReLU": "a name: cnn.Dense(8, 'relu')", "Softmax": "the loss's own link: loss='cross_entropy'",
    "MSELoss": "a name: loss='mse'", "CrossEntropyLoss": "cnn.CrossEntropy", "BCELoss": "cnn.BinaryCrossEntropy",
    "BCEWithLogitsLoss": "cnn.BinaryCrossEntropy", "HuberLoss": "cnn.Huber", "RMSProp": "cnn.RMSprop",
    "DataLoader": "none: fit takes arrays, or a DataLoader", "MLP": "cnn.Network",
    "LayerNormalization": "cnn.LayerNorm", "BatchNormalization": "cnn.BatchNorm", "BatchNorm1d": "cnn.BatchNorm",
    "BatchNorm2d": "cnn.BatchNorm", "Conv1d": "cnn.Conv1D", "Conv2d": "cnn.Conv2D", "MaxPool1d": "cnn.MaxPool1D",
    "MaxPool2d": "cnn.MaxPool2D", "AvgPool2d": "cnn.AvgPool2D", "MaxPooling1D": "cnn.MaxPool1D",
    "MaxPooling2D": "cnn.MaxPool2D", "AveragePooling2D": "cnn.AvgPool2D",
    "AdaptiveAvgPool2d": "cnn.GlobalAvgPool2D", "GlobalAveragePooling2D": "cnn.GlobalAvgPool2D",
    "AdaptiveMaxPool2d": "cnn.GlobalMaxPool2D", "GlobalMaxPooling2D": "cnn.GlobalMaxPool2D",
    "Embedding": "cnn.CategoryEmbedding",
    "SwapEMAWeights": "cnn.AverageWeights", "AveragedModel": "cnn.AverageWeights",
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


def missing(name: str, names: Iterable[str]) -> str:
    """What is said of a name that the package does not have.

    >>> missing("Dens", ["Dense"])
    "module 'cnn' has no attribute 'Dens': here it is cnn.Dense"
    """
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.75)
    here = PACKAGE.get(name, f"cnn.{near[0]}" if near else "")
    return f"module 'cnn' has no attribute {name!r}" + (f": here it is {here}" if here else "")


def told(function: Callable[P, R]) -> Callable[P, R]:
    """The function; an argument that it does not have is answered by what it is called here."""
    names = [name for name in inspect.signature(function).parameters if name != "self"]

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in names:
                near = nearest(name, names)
                made = function.__name__ == "__init__" and args  # a class may have it from another one
                what = type(args[0]).__name__ if made else function.__qualname__
                hint = f": here it is {near!r}" if near else f": {PLACES[name]}" if name in PLACES else ""
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
