"""`Network`: a plan, its parameters, and everything that can be asked of them; the loop of a fit is in training.py."""

from __future__ import annotations

import copy
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

import cnn_core
from cnn import (
    _check,
    _console,
    _names,
    arena,
    data,
    evaluation,
    initializers,
    losses,
    metrics,
    optimizers,
    passes,
    threads,
)
from cnn._elsewhere import Told, told
from cnn._types import Hook, LossName, MetricName, OptimizerName, RealType
from cnn.bound import BoundLayer
from cnn.data import Array
from cnn.history import History
from cnn.layers import Dense, Layer, checked
from cnn.losses import Loss
from cnn.optimizers import Optimizer
from cnn.plan import Plan, layer_activation
from cnn.plan import build as build_plan


class Network(Told):
    """A feed-forward network of dense layers, y = f(x W + b) one after another, trained by gradient descent.

    Args:
        layers: `Dense` and `Dropout` descriptions, at least one dense; the last layer is dense.
        loss: a name or a `cnn.Loss`; it also decides the output link (sigmoid for binary_cross_entropy, softmax for
            cross_entropy, exp for poisson) that `predict` applies and `forward` does not.
        optimizer: a name or a `cnn.Optimizer`.
        dtype: "float32" or "float64".
        seed: of the initial weights, the order of rows and dropout; None draws one (kept in `seed`).

    Raises:
        TypeError, ValueError: an argument of the wrong type, an unknown name, layers that can't follow one another.

    >>> import numpy as np
    >>> net = Network([Dense(8, "tanh"), Dense(1)], loss="mse", optimizer=optimizers.Adam(0.05), seed=0)
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> history = net.fit(X, X[:, 0] ** 2, epochs=300, verbose=0)
    >>> history.loss[-1] < 0.01 < history.loss[0]
    True
    """

    @told
    def __init__(
        self,
        layers: Sequence[Layer],
        loss: LossName | Loss = "mse",
        optimizer: OptimizerName | Optimizer = "adam",
        dtype: RealType = "float32",
        seed: int | None = None,
    ) -> None:
        self.descriptions = checked(layers)
        self.loss = losses.get(loss)
        self.optimizer = optimizers.get(optimizer)
        self.dtype = _check.real_dtype(dtype)
        self.seed_given = seed is not None
        seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.seed = _check.integer("seed", seed, 0, 2**64 - 1)
        self.history = History()
        self.one_dimensional = False  # predict gives (n,): so were the targets of the fit
        self.training_id = secrets.token_hex(8)  # by which checkpoints know what is of one training
        self.rate_factor = 1.0  # what `ReduceOnPlateau` has made of the learning rate
        self.stop_training = False
        self.activation_choice = ""  # what the fit chose for activation="auto", and why
        self._plan: Plan | None = None
        self.predictor: Any = None
        self._tape: passes.Tape | None = None
        last = self.descriptions[-1]
        assert isinstance(last, Dense)
        if self.loss.target == "classes" and last.units < 2:
            raise ValueError(
                "cross_entropy needs an output for each class, got 1; for two classes and one output use "
                "loss='binary_cross_entropy'"
            )
        for i, layer in enumerate(self.descriptions):
            if isinstance(layer, Dense) and layer.activation != "auto":
                layer_activation(layer, self.loss, last=i == len(self.descriptions) - 1)

    def build(self, n_inputs: int) -> Network:
        """Makes the parameters for that many inputs; the first fit does it by itself. Returns the network."""
        n_inputs = _check.integer("n_inputs", n_inputs, 1)
        if self._plan is not None:
            if n_inputs != self._plan.n_inputs:
                raise ValueError(f"the network takes {self._plan.n_inputs} inputs already, got n_inputs={n_inputs}")
            return self
        if self.chooses_activation:
            raise ValueError("activation='auto' is chosen by the first fit, on its data: fit first, or name one")
        made = build_plan(self.descriptions, n_inputs, self.loss, self.optimizer)
        self._allocate(made)
        for i, layer in enumerate(self.descriptions):
            if isinstance(layer, Dense):
                self._draw(i, layer)
        self.take(made)  # last: a network whose building was broken off is not built
        return self

    def _allocate(self, made: Plan) -> None:
        self.flat = arena.aligned_zeros(made.size, self.dtype)
        self._parameters = arena.views(self.flat, made.names)
        self._gradients: Array | None = None
        self.state = arena.aligned_zeros(made.slots * made.size, self.dtype)
        self.scalars = np.zeros(4)
        self.counter = np.zeros(1, np.int64)

    def adopt(self, made: Plan) -> None:
        """Builds the network by a plan of it, with zeros: for those who have its parameters already."""
        self._allocate(made)
        self.take(made)

    def take(
        self, made: Plan, layers: tuple[Layer, ...] | None = None, optimizer: Optimizer | None = None, *,
        fresh: bool = False,
    ) -> None:  # fmt: skip
        """Makes that plan the network's; its parameters must have the places that `flat` has.

        With the layers and the optimizer that the plan is of, if they are others; `fresh` begins the optimizer's state.
        """
        found: dict[str, Any] = {
            "predictor": cnn_core.engine.Predictor(made.tiles.layers, made.tiles.workspace, self.flat, self.loss.kind),
            "_plan": made, "descriptions": layers or self.descriptions, "optimizer": optimizer or self.optimizer,
        }  # fmt: skip
        if fresh:
            state = arena.aligned_zeros(made.slots * made.size, self.dtype)
            found |= {"state": state, "counter": np.zeros(1, np.int64)}
        vars(self).update(found)  # all at once: no Ctrl-C leaves a part of it

    def _draw(self, index: int, layer: Dense) -> None:
        """Initial values that depend on the seed and the layer's place alone."""
        for j, (what, how) in enumerate((("weights", layer.initializer), ("biases", layer.bias_initializer))):
            view = self._parameters.get(f"layers.{index}.{what}")
            if view is not None and how != "zeros":  # which they are
                kind = layer_activation(layer, self.loss, last=index == len(self.descriptions) - 1).name
                rng = np.random.default_rng((self.seed, index, j))
                view[...] = threads.apart(view.size, partial(initializers.get(how).draw, view.shape, rng, kind))

    @property
    def plan(self) -> Plan:
        """The plan the engine walks."""
        if self._plan is None:
            raise _check.NotBuiltError()
        return self._plan

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Views of the parameters by name ("layers.0.weights", ...)."""
        self.plan  # noqa: B018 (raises when not built)
        return self._parameters

    @property
    def n_inputs(self) -> int:
        return self.plan.n_inputs

    @property
    def n_outputs(self) -> int:
        last = self.descriptions[-1]
        assert isinstance(last, Dense)
        return last.units

    @property
    def layers(self) -> tuple[BoundLayer, ...]:
        """The layers, bound to this network's parameters."""
        return tuple(BoundLayer(self, i) for i in range(len(self.descriptions)))

    @property
    def known_inputs(self) -> int | None:
        """The number of inputs, or None before it is known."""
        return None if self._plan is None else self._plan.n_inputs

    @property
    def chooses_activation(self) -> bool:
        """Whether a layer's activation is still "auto"."""
        return any(getattr(layer, "activation", None) == "auto" for layer in self.descriptions)

    @property
    def epoch(self) -> int:
        """The number of the next epoch, from 0."""
        return self.history.epoch[-1] + 1 if self.history.epoch else 0

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return 0 if self._plan is None else int(self.counter[0])

    def get_weights(self) -> dict[str, Array]:
        """Copies of the parameters by name ("layers.0.weights", ...)."""
        return {name: view.copy() for name, view in self.parameters.items()}

    def set_weights(self, weights: Mapping[str, Any], *, partial: bool = False) -> None:
        """Sets the parameters by name, all of them unless `partial`; nothing is changed when one does not fit."""
        parameters = self.parameters
        if not isinstance(weights, Mapping):
            raise TypeError(f"weights must be a mapping of names to arrays, got {type(weights).__name__}")
        ready = {}
        for name, value in weights.items():
            if name not in parameters:
                raise _names.unknown("parameter", name, parameters)
            array = _check.numeric(name, value, self.dtype)
            if array.shape != parameters[name].shape:
                raise ValueError(f"{name} must have shape {parameters[name].shape}, got {array.shape}")
            ready[name] = array
        missing = sorted(set(parameters) - set(ready))
        if missing and not partial:
            raise ValueError(f"no value for {', '.join(missing)}")
        flat = self.flat.copy()
        for name, view in arena.views(flat, self.plan.names).items():
            if name in ready:
                view[...] = ready[name]
        self.flat[...] = flat  # all at once: a Ctrl-C leaves the old ones or the new ones

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes architecture and weights to one file (read by `cnn.load`), whole or not at all."""
        from cnn import files

        files.save(self, path)

    @told
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int = 10,
        batch_size: int | None = 128,
        validation_split: float = 0.0,
        validation_data: Sequence[Any] | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | Literal["balanced"] | None = None,
        shuffle: bool = True,
        initial_epoch: int | None = None,
        metrics: MetricName | Literal["auto"] | Iterable[MetricName | metrics.Metric] = "auto",
        callbacks: Iterable[Hook] = (),
        verbose: int = 1,
        n_threads: int | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Trains on minibatches and returns the history of this call; a further fit continues where this one stopped.

        Args:
            X: (n, n_inputs) numbers of any type and order, or one of SciPy's sparse arrays (best CSR), which costs what
                its non-zeros cost. Never changed; copied only if of another type or order.
            y: (n,) or (n, n_outputs) targets; (n,) integer classes or (n, k) probabilities for cross_entropy.
            epochs: how many more; with `initial_epoch`, the number of the last one (as in Keras).
            batch_size: rows of a step; None takes all.
            validation_split: the last share of the rows is held out (before any shuffling).
            validation_data: (X, y) or (X, y, sample_weight), instead.
            sample_weight: (n,) weights >= 0; every mean is sum(w · value) / sum(w).
            class_weight: weight of each class, or "balanced".
            shuffle: a new order of the rows in each epoch, a function of the seed and the epoch alone.
            metrics: names or functions f(y, prediction, weights); "auto" is accuracy or rmse by the loss, () none.
            callbacks: `cnn.Callback`s or functions f(network, epoch, logs).
            verbose: 1 a progress bar, 2 a line for each epoch, 0 nothing.
            n_threads: the result has the same bits for every number; None chooses.
            resume: the folder of a `cnn.Checkpoint`: goes on from the newest one there, with the same network, data and
                settings to the same bits as without the interruption; begins when it is empty.

        Raises:
            TypeError, ValueError: before anything is touched.
            NonFiniteError: the loss stopped being finite; the weights of the last finite step are kept.
            KeyboardInterrupt: Ctrl-C, within 200 ms; the network stays usable.
        """
        from cnn import training

        return training.fit(
            self, X, y, training.Settings(
                epochs=epochs, batch_size=batch_size, validation_split=validation_split,
                validation_data=validation_data, sample_weight=sample_weight, class_weight=class_weight,
                shuffle=shuffle, initial_epoch=initial_epoch, metrics=metrics, callbacks=callbacks,
                verbose=verbose, n_threads=n_threads, resume=resume,
            ),
        )  # fmt: skip

    def loss_and_gradient(
        self, X: Any, y: Any, sample_weight: Any = None, *, training: bool = False, n_threads: int | None = None
    ) -> tuple[float, dict[str, Array]]:
        """(loss, gradients): the mean loss plus penalties over all rows, and its gradient for each parameter, by name.

        `training` turns dropout on, with the mask of the next step.

        >>> import numpy as np
        >>> net = Network([Dense(1)], dtype="float64", seed=0).build(2)
        >>> loss, gradients = net.loss_and_gradient(np.ones((3, 2)), np.zeros(3))
        >>> sorted(gradients)
        ['layers.0.biases', 'layers.0.weights']
        """
        rows = data.prepare(X, y, sample_weight, self.loss, self.dtype, self.n_inputs, self.n_outputs)
        loss, gradient = passes.loss_and_gradient(self, rows, training, n_threads)
        return loss, arena.views(gradient, self.plan.names)

    def update(self, gradients: Mapping[str, Any], learning_rate: float | None = None) -> None:
        """One optimizer step from these gradients (all parameters, by name): for losses and exchanges of one's own.

        >>> import numpy as np
        >>> net = Network([Dense(1)], optimizer=optimizers.SGD(0.5), dtype="float64", seed=0).build(1)
        >>> before = net.get_weights()["layers.0.weights"]
        >>> net.update({"layers.0.weights": np.ones((1, 1)), "layers.0.biases": np.zeros(1)})
        >>> (before - net.layers[0].weights).item()
        0.5
        """
        passes.update(self, gradients, learning_rate)

    def forward(self, X: Any, *, training: bool = False, n_threads: int | None = None) -> Array:
        """Raw outputs (n, n_outputs), without the loss's link; what `backward` needs is kept until the next call."""
        out, self._tape = passes.forward(self, X, training, n_threads)
        return out

    def backward(self, dout: Any) -> Array | None:
        """dL/dX (n, n_inputs) from dL/d(outputs) of the last `forward`; the parameters' gradients go to `gradients`.

        None for sparse X, of which dL/dX would be a dense matrix.

        >>> import numpy as np
        >>> net = Network([Dense(1, use_bias=False)], dtype="float64", seed=0).build(2)
        >>> out = net.forward(np.ones((1, 2)))
        >>> dX = net.backward(np.ones((1, 1)))
        >>> bool(np.all(dX == net.layers[0].weights.T)), net.gradients["layers.0.weights"].ravel()
        (True, array([1., 1.]))
        """
        if self._tape is None:
            raise RuntimeError("backward needs the forward pass before it: call forward(X) first")
        dout = _check.numeric("dout", dout, self.dtype)
        if dout.shape != (expected := (len(self._tape.X), self.n_outputs)):
            raise ValueError(f"dout must have the shape of the outputs, {expected}, got {dout.shape}")
        dX, self._gradients = passes.backward(self, self._tape, dout)
        return dX

    @property
    def gradients(self) -> dict[str, Array]:
        """What the last `backward` found, by name."""
        if self._plan is None or self._gradients is None:
            raise RuntimeError("there are no gradients yet: call forward(X), then backward(dout)")
        return arena.views(self._gradients, self.plan.names)

    def buffers(self, rows: int) -> passes.Buffers:
        """What the C API (docs/c-api.md) needs to work on this network with up to `rows` rows; one for each thread."""
        return passes.buffers(self, _check.integer("rows", rows, 1))

    def predict(self, X: Any, *, out: Array | None = None, n_threads: int | None = None) -> Array:
        """Values or, by the loss's link, probabilities: (n, n_outputs), or (n,) after a fit to 1-d targets.

        Args:
            X: (n, n_inputs) finite numbers of any type and order, also sparse.
            out: an array of the result's shape and the network's dtype, C-contiguous: it is filled and returned.
            n_threads: the result has the same bits for every number; None chooses.

        >>> import numpy as np
        >>> net = Network([Dense(3, "tanh"), Dense(2)], seed=0).build(4)
        >>> X, out = np.ones((5, 4), np.float32), np.empty((5, 2), np.float32)
        >>> net.predict(X, out=out) is out
        True
        """
        predictor = self.predictor
        if predictor is not None and n_threads is None:
            few = predictor.few(X, out, self.one_dimensional)
            if few is not None:
                return few
        return passes.predict(self, X, out, n_threads)

    def predict_classes(self, X: Any, *, n_threads: int | None = None) -> Array:
        """The most probable class (n,); 0 or 1 for each output of binary_cross_entropy; -1 or 1 for hinge."""
        return passes.classes(self, X, n_threads)

    @told
    def evaluate(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        metrics: MetricName | Literal["auto"] | Iterable[MetricName | metrics.Metric] = "auto",
        n_threads: int | None = None,
    ) -> dict[str, float]:
        """{"loss": mean loss plus penalties, metric: value, ...} on these rows, without dropout."""
        chosen = evaluation.resolve(metrics, self.loss)
        rows = data.prepare(X, y, sample_weight, self.loss, self.dtype, self.n_inputs, self.n_outputs)
        return evaluation.evaluate(self, rows, evaluation.check(self.loss, rows, self.n_outputs, chosen), n_threads)

    def as_estimator(self) -> Any:
        """An estimator for scikit-learn of these layers, loss, optimizer and, once built, weights (extra `sklearn`).

        >>> Network([Dense(1)]).as_estimator().set_params(solver="lbfgs").fit([[0.0], [1.0]], [0.0, 2.0]).n_outputs_
        1
        """
        from cnn import MLPRegressor, estimators  # noqa: F401 (the first names the extra where it is missing)
        return estimators.from_network(self)

    def summary(self) -> None:
        """Prints layers, output widths and numbers of parameters.

        >>> Network([Dense(8, "relu"), Dense(1)]).build(3).summary()
        layer     description           units  parameters
        layers.0  Dense(8, 'relu')          8          32
        layers.1  Dense(1, 'identity')      1           9
        41 parameters, float32, 164 bytes; loss mse, optimizer Adam
        """
        from cnn import reports

        _console.say(reports.summary(self))

    def _repr_html_(self) -> str:
        from cnn import reports

        return reports.html(self)

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.descriptions))
        return (
            f"Network([{inside}], loss={self.loss!r}, optimizer={self.optimizer!r}, dtype={self.dtype.name!r}, "
            f"seed={self.seed})"
        )

    def __copy__(self) -> Network:
        """A whole copy: networks that shared half of their state would train each other."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        without = {"_tape", "_parameters", "_gradients", "_plan", "predictor"}
        state = {k: v for k, v in self.__dict__.items() if k not in without}
        state["n_inputs"] = None if self._plan is None else self._plan.n_inputs
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        n_inputs = state.pop("n_inputs")
        self.__dict__.update(state)
        self._tape, self._plan, self._gradients, self.predictor = None, None, None, None
        self.training_id = secrets.token_hex(8)  # a copy is another training
        if n_inputs is not None:  # unpickled arrays are not aligned
            self.adopt(build_plan(self.descriptions, n_inputs, self.loss, self.optimizer))
            for name in ("flat", "state", "scalars", "counter"):
                getattr(self, name)[...] = state[name]
