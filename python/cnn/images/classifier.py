"""`ImageClassifier`: labels of pictures, from arrays or from a folder of pictures for each class."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets

from cnn import augment, layers
from cnn._common import checks
from cnn.augment import Augmentation
from cnn.callbacks import Hook
from cnn.images import folder, pixels, recipe, save
from cnn.images.folder import OnBroken
from cnn.images.recipe import Effort
from cnn.inspect import reports
from cnn.layers import Layer
from cnn.network import Network
from cnn.runtime.data import Array
from cnn.runtime.history import History

Changes = Augmentation | Iterable[Augmentation] | Literal["auto"] | None


class ImageClassifier(ClassifierMixin, BaseEstimator):
    """A convolutional network for labels of pictures: a small one that suits their size, or your own layers.

    X is an array (n, height, width) or (n, height, width, channels) of bytes (uint8) or of floats, best in [0, 1];
    or a folder with a folder of pictures for each class, whose name is the label (extra `images`: Pillow); of
    transparent pictures the colours are taken, and the alpha is dropped. The network has kernels of 3 x 3, batch
    normalisation and a residual block (He, Zhang, Ren & Sun 2016); AdamW trains it, by one cycle of the learning rate.
    Nothing is chosen by rows that are held out.

    Args:
        effort: "fast", "default" or "best": how large the network is, and how many images it sees.
        max_seconds: the longest that a fit may take; epochs are fitted to it, so results depend on the machine.
        layers: own layers, the last one a `cnn.Dense` with an output for each class; None: by the images' size.
        epochs, batch_size: by effort and number of images if None.
        learning_rate: the highest one of the cycle.
        augment: how images are changed at random in each step: a `cnn.augment.Shift`, `Flip`, `Cutout`, `Noise`, or a
            list of them; None: not at all; "auto": in fits of 8 epochs and more they are shifted by up to a 28th, and
            flipped if two short fits on some training rows say that this helps for others of them.
        image_size: (height, width) that pictures of folders are stretched to; None: their median, 96 pixels at most.
        on_broken: what to do with files that can't be read: "raise" ValueError, or "skip" them, with a warning.
        validation_split: share of the images, the same of each class, that is held out to see its accuracy.
        random_state: of weights, order of images and what is held out: an integer, a RandomState or None.
        callbacks: `cnn.Callback`s or functions f(network, epoch, logs).
        verbose: 1 a progress bar, 2 a line for each epoch, 0 nothing.
        n_threads: None takes the cores there are; the same bits for every number.

    Attributes:
        classes_: the labels, ascending. network_: the `cnn.Network`. history_: numbers of all epochs.
        image_shape_: (height, width, channels). n_iter_: epochs. augment_: how images were changed.

    >>> import numpy as np, cnn
    >>> rng = np.random.default_rng(0)
    >>> y = rng.choice(["dark", "light"], 200)
    >>> X = rng.integers(0, 100, (200, 8, 8), dtype=np.uint8)
    >>> X[y == "light"] += 120
    >>> model = cnn.ImageClassifier(epochs=3, random_state=0).fit(X, y)
    >>> model.predict(X[:3]).tolist() == y[:3].tolist()
    True
    """

    def __init__(
        self, effort: Effort = "default", *, max_seconds: float | None = None, layers: Sequence[Layer] | None = None,
        epochs: int | None = None, batch_size: int | None = None, learning_rate: float = recipe.RATE,
        augment: Changes = "auto", image_size: tuple[int, int] | None = None, on_broken: OnBroken = "raise",
        validation_split: float = 0.0, random_state: Any = None, callbacks: Iterable[Hook] | None = None,
        verbose: int = 0, n_threads: int | None = None,
    ) -> None:  # fmt: skip
        self.effort = effort
        self.max_seconds = max_seconds
        self.layers = layers
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.augment = augment
        self.image_size = image_size
        self.on_broken = on_broken
        self.validation_split = validation_split
        self.random_state = random_state
        self.callbacks = callbacks
        self.verbose = verbose
        self.n_threads = n_threads

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains on images X and labels y (n,), or on a folder X of a folder for each class; returns self.

        Raises:
            TypeError, ValueError: wrong parameters, images or labels, a broken picture; before anything is trained.
            FileNotFoundError: there is no such folder. ImportError: it needs Pillow.
            cnn.DivergenceError: the loss stopped being finite (a ValueError).
        """
        start = time.perf_counter()
        self.check_parameters()
        images, labels = self._read(X, y)
        classes, places = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y must hold two classes at least, got {classes.tolist()}")
        random = check_random_state(self.random_state)
        seed, index = int(random.randint(2**31 - 1)), places.astype(np.int32).reshape(-1)
        held: dict[str, Any] = {}
        if self.validation_split:
            _check_each_class(classes, index)
            images, *aside, index, of_aside = train_test_split(
                images, index, test_size=self.validation_split, stratify=index, random_state=random
            )
            held["validation_data"] = (aside[0], of_aside)
        size = recipe.length(self.effort, len(images), self.epochs, self.batch_size)
        filters = recipe.BUDGETS[self.effort].filters
        stack = list(self.layers) if self.layers is not None else recipe.layers(images.shape[1:], len(classes), filters)
        net = recipe.network(stack, seed, self.learning_rate)
        net.check_images(images.shape[1:])  # as `Network.fit` does of one that is not built
        net.build(images.shape[1:])
        if net.n_outputs != len(classes):
            raise ValueError(f"layers have {net.n_outputs} outputs, and y has {len(classes)} classes")
        if self.max_seconds is not None:
            left = self.max_seconds - (time.perf_counter() - start)
            size = size._replace(epochs=recipe.affordable(stack, images, index, size, left, self.n_threads))
        changes = self._changes(stack, images, index, size, seed)
        if self.max_seconds is not None and changes and self.augment == "auto":  # what that took
            taken = -(-recipe.pilot_images(len(images)) // len(images))
            size = size._replace(epochs=max(1, size.epochs - taken))
        history = net.fit(
            images, index, epochs=size.epochs, batch_size=size.batch_size, callbacks=self.callbacks or (),
            verbose=int(self.verbose), n_threads=self.n_threads, augment=changes, **held,
        )  # fmt: skip
        self._adopt(net, classes, history, changes)
        return self

    def _changes(self, stack: list[Layer], X: Array, y: Array, size: recipe.Length, seed: int) -> list[Augmentation]:
        """How images are changed in a fit."""
        if isinstance(self.augment, str):
            return recipe.augmentation(stack, X, y, size, seed, self.n_threads)
        return list(augment.all_of(self.augment))

    def check_parameters(self) -> None:
        """ValueError or TypeError for parameters that can't be."""
        if not isinstance(self.effort, str) or self.effort not in recipe.BUDGETS:
            raise ValueError(f"effort must be one of {', '.join(recipe.BUDGETS)}, got {self.effort!r}")
        if self.on_broken not in ("raise", "skip"):
            raise ValueError(f"on_broken must be 'raise' or 'skip', got {self.on_broken!r}")
        for name in ("epochs", "batch_size", "n_threads"):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), 1)
        if self.layers is not None:
            layers.checked(self.layers)
        check_random_state(self.random_state)
        checks.integer("verbose", int(self.verbose) if isinstance(self.verbose, bool) else self.verbose, 0, 2)
        if isinstance(self.augment, str) and self.augment != "auto":
            raise ValueError(f"augment must be 'auto', None, or how images are changed, got {self.augment!r}")
        if isinstance(self.augment, Iterator):
            self.augment = tuple(self.augment)  # it gives its items once, and fits and files ask for them
        augment.all_of(None if isinstance(self.augment, str) else self.augment)
        if self.max_seconds is not None:
            checks.number("max_seconds", self.max_seconds, 0, open_low=True)
        checks.number("learning_rate", self.learning_rate, 0, open_low=True)
        checks.number("validation_split", self.validation_split, 0, 1, open_high=True)
        if self.image_size is not None:
            size = self.image_size
            if not isinstance(size, Sequence) or isinstance(size, str) or len(size) != 2:
                raise ValueError(f"image_size must be (height, width), got {size!r}")
            for side in size:
                checks.integer("image_size", side, 1)

    def _read(self, X: Any, y: Any) -> tuple[Array, Array]:
        """The images and the labels of a fit."""
        if not folder.is_place(X):
            images = pixels.checked(X)
            labels = np.asarray(y)
            if y is None or labels.shape != (len(images),):
                raise ValueError(f"y must be labels ({len(images)},), one for each image, got {_shape(y)}")
            _check_labels(labels)
            return images, labels
        pictures = folder.found(X, classes=True)
        if y is not None:
            raise ValueError("y must be None for a folder: the folders in it are the classes")
        size = None if self.image_size is None else (int(self.image_size[0]), int(self.image_size[1]))
        images, kept = folder.read(pictures.paths, folder.shape_of(pictures.paths, size), self.on_broken)
        return images, np.array(pictures.labels)[kept]

    def _adopt(self, net: Network, classes: Array, history: History, changes: list[Augmentation]) -> None:
        """What a fit leaves, all of it or nothing."""
        self.augment_ = changes
        self.network_, self.classes_, self.history_ = net, classes, history
        self.image_shape_ = tuple(net.input_shape)
        self.n_iter_ = len(history)

    def _fitted(self) -> Network:
        net: Network | None = getattr(self, "network_", None)
        if net is None:
            raise NotFittedError("this ImageClassifier is not fitted yet: call fit first")
        return net

    def images(self, X: Any) -> Array:
        """The images of an array, a folder or a list of files as the network takes them."""
        self._fitted()
        if not folder.is_place(X):
            return pixels.checked(X, self.image_shape_)
        paths = folder.found(X, classes=False).paths
        return folder.read(paths, self.image_shape_, self.on_broken)[0]

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (n, n_classes) in the order of `classes_`; X as of `fit`, or a list of picture files."""
        return self._fitted().predict(self.images(X), n_threads=self.n_threads)

    def predict(self, X: Any) -> Array:
        """Labels (n,) for images, a folder of pictures (in the order of their names), or a list of picture files."""
        best = self.predict_proba(X).argmax(axis=1)
        labels: Array = self.classes_[best]
        return labels

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The share of right labels; of a folder of a folder for each class y is known."""
        self._fitted()
        if folder.is_place(X):
            if y is not None:
                raise ValueError("y must be None for a folder: the folders in it are the classes")
            pictures = folder.found(X, classes=True)
            X, kept = folder.read(pictures.paths, self.image_shape_, self.on_broken)
            y = np.array(pictures.labels)[kept]
        return float(super().score(X, y, sample_weight))

    def summary(self) -> str:
        """The network's layers, with the shapes of their outputs and their parameters."""
        return reports.summary(self._fitted())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes parameters, network and labels to one file, which `cnn.load` reads; no code is in it.

        Raises:
            NotFittedError: it is not fitted. TypeError: labels that are no text, numbers or truth values.
        """
        self._fitted()
        save.save(self, path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = False
        return tags


def _check_each_class(classes: Array, index: Array) -> None:
    """ValueError for a class of one image where some are held out of each."""
    counts = np.bincount(index, minlength=len(classes))
    if counts.min() < 2:
        label = classes[counts.argmin()]
        raise ValueError(
            f"class {label!s} has one image, and validation_split (--valid) holds out some of each class: it needs two "
            "images of a class, or validation_split=0"
        )


def _check_labels(labels: Array) -> None:
    """ValueError for labels that are missing, or numbers of a regression."""
    if labels.dtype.kind == "O" and any(label is None or label != label for label in labels):
        raise ValueError("y must be labels, one for each image, got None or NaN among them")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError("y must be labels, one for each image, got NaN or infinity among them")
    try:
        check_classification_targets(labels)
    except ValueError as error:
        raise ValueError(f"y must be labels of classes, not numbers to be predicted: {error}") from None


def _shape(y: Any) -> str:
    return "none" if y is None else f"shape {np.shape(y)}"
