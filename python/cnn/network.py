"""`Network`: what can be asked of a network, each verb a door to the module that does it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from cnn import metrics
from cnn._common import checks, console, threads
from cnn._common.elsewhere import Told, told
from cnn._common.types import MetricName, OptimizerName, RealType
from cnn.augment import Augmentation
from cnn.callbacks import Hook
from cnn.files.network import save_network
from cnn.inspect import reports
from cnn.layers import Layer
from cnn.losses import Loss, LossName
from cnn.mpi.alone import Alone
from cnn.mpi.ranks import together
from cnn.optimizers import Optimizer
from cnn.runtime import arena, data, evaluation, passes
from cnn.runtime.data import Array
from cnn.runtime.history import History
from cnn.runtime.state import NetworkState
from cnn.schedules import Schedule
from cnn.training import choose_activation, shared_fit, shared_stream
from cnn.training import stream as streams
from cnn.training.fit import Fit, FitOptions, prepare


class Network(Told, NetworkState):
    """A feed-forward network of dense layers, y = f(x W + b) one after another, trained by gradient descent.

    Args:
        layers: descriptions (`Dense`, `Dropout`, `LayerNorm`, `Residual`, ...: docs/guide.md); the last one is dense.
        loss: a name or a `cnn.Loss`; it also decides the output link (sigmoid for binary_cross_entropy, softmax for
            cross_entropy, exp for poisson) that `predict` applies and `forward` does not.
        optimizer: a name or a `cnn.Optimizer`.
        dtype: "float32" or "float64".
        seed: of the initial weights, the order of rows and dropout; None draws one (kept in `seed`).
        dropout_factor: a schedule whose number is a factor on the rates of all `Dropout` layers in each step of a fit,
            which must stay below 1; None leaves them as they are.

    Raises:
        TypeError, ValueError: an argument of the wrong type, an unknown name, layers that can't follow one another.

    >>> import cnn, numpy as np
    >>> net = cnn.Network([cnn.Dense(8, "tanh"), cnn.Dense(1)], loss="mse", optimizer=cnn.Adam(0.05), seed=0)
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
        dropout_factor: Schedule | None = None,
    ) -> None:
        super().__init__(layers, loss, optimizer, dtype, seed, dropout_factor)
        self._tape: passes.Tape | None = None
        self._gradients: Array | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes architecture and weights to one file (read by `cnn.load`), whole or not at all."""
        save_network(self, path)

    @told
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 10,
        batch_size: int | None = 128,
        validation_split: float = 0.0,
        validation_data: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | Literal["balanced"] | None = None,
        shuffle: bool = True,
        initial_epoch: int | None = None,
        metrics: MetricName | Literal["auto"] | metrics.Metric | Iterable[MetricName | metrics.Metric] = "auto",
        callbacks: Iterable[Hook] = (),
        verbose: int = 1,
        n_threads: int | None = None,
        resume: str | os.PathLike[str] | None = None,
        stream: bool | None = None,
        comm: Any = None,
        same_rows: bool = False,
        exchange_every: int = 1,
        augment: Augmentation | Iterable[Augmentation] | None = None,
    ) -> History:
        """Trains on minibatches and returns the history of this call; a further fit continues where this one stopped.

        Args:
            X: (n, n_inputs) numbers of any type and order, or one of SciPy's sparse arrays (best CSR), which costs what
                its non-zeros cost; for layers of images (n, height, width, channels), of signals (n, length, channels).
                Never changed; copied only if of another type or order. Or a stream, read while the network trains: an
                iterable of batches (X, y) or (X, y, weights), or the path of a Parquet file or folder (extra `arrow`).
            y: (n,) or (n, n_outputs) targets; (n,) integer classes or (n, k) probabilities for cross_entropy. Not for
                batches; of a Parquet file the name of a column, or several; all others but that of the weights are X.
            epochs: how many more; with `initial_epoch`, the number of the last one (as in Keras).
            batch_size: rows of a step, however batches of a stream are cut; None takes all, of a stream each batch.
            validation_split: the last share of the rows is held out (before any shuffling).
            validation_data: (X, y) or (X, y, sample_weight), instead; of a stream also batches, or the path of a file.
            sample_weight: (n,) weights >= 0; every mean is sum(w · value) / sum(w). Of a Parquet file a column's name.
            class_weight: weight of each class, or "balanced".
            initial_epoch: the number of the first epoch, from 0; None goes on counting where the last fit ended.
            shuffle: a new order of the rows in each epoch, a function of the seed and the epoch alone; none where a
                batch has all rows. Of files parts are drawn and the rows of some parts mixed; batches keep their order.
            metrics: names or functions f(y, prediction, weights); "auto" is accuracy or rmse by the loss, () none.
            callbacks: `cnn.Callback`s or functions f(network, epoch, logs).
            verbose: 1 a progress bar, 2 a line for each epoch, 0 nothing; with 1 or 2 a first fit says where columns of
                X or targets are far from the order of 1.
            n_threads: the result has the same bits for every number; None chooses.
            resume: the folder of a `cnn.Checkpoint`: goes on from the newest one there, with the same network, data and
                settings to the same bits as without the interruption; begins when it is empty.
            stream: whether arrays are read by pieces, too, for memory-mapped ones; None: if they are larger than the
                memory that is free.
            comm: a communicator of mpi4py (extra `mpi`), all of whose processes make this call: each step is shared out
                among them, `batch_size` being that of all. Every rank has rows of its own, but a Parquet file that all
                give is shared out; all begin with the weights of rank 0, which shows and writes what there is to show
                and to write.
            same_rows: all ranks give the same rows (a memory-mapped file, say), of which each takes its share.
            exchange_every: so many steps each rank makes alone, on its share of the minibatches; then weights and the
                optimizer's state become the mean of all. 1 adds gradients in every step.
            augment: how images are changed at random in each step: `cnn.augment.Shift`, `Flip`, `Cutout`, `Noise` or a
                list of them; metrics of training rows are those of changed images.

        Raises:
            TypeError, ValueError: before anything is touched.
            ImportError: `comm` without mpi4py.
            RankError: another process of `comm` failed; its error is named.
            StreamError: a stream ends early or changes; the weights of the last step and the history are kept.
            NonFiniteError: the loss stopped being finite; the weights of the last finite step are kept.
            KeyboardInterrupt: Ctrl-C, within 200 ms where the cores have nothing else to do; the network stays usable.
        """
        options = FitOptions(
            epochs=epochs, batch_size=batch_size, validation_split=validation_split, validation_data=validation_data,
            sample_weight=sample_weight, class_weight=class_weight, shuffle=shuffle, initial_epoch=initial_epoch,
            metrics=metrics, callbacks=callbacks, verbose=verbose, n_threads=n_threads, resume=resume,
            same_rows=same_rows, exchange_every=exchange_every, augment=augment,
        )  # fmt: skip

        def fitted(ranks: Alone) -> History:
            how: Callable[[NetworkState, Any, Any, FitOptions], Fit] = prepare
            pieces = any(ranks.gather(streams.is_wanted(stream, X, y, self)))
            if ranks.size > 1:
                how = partial(shared_stream.prepare if pieces else shared_fit.prepare, ranks=ranks)
            elif pieces:
                how = streams.prepare
            fit = how(self, X, y, options)
            choose_activation.settle(fit)
            return fit.run()

        return threads.a_fit(self, partial(together, comm, fitted))

    def loss_and_gradient(
        self, X: Any, y: Any, sample_weight: Any = None, *, training: bool = False, n_threads: int | None = None
    ) -> tuple[float, dict[str, Array]]:
        """(loss, gradients): the mean loss plus penalties over all rows, and its gradient for each parameter, by name.

        `training` turns dropout on, with the mask of the next step, at the layers' own rates.

        >>> import cnn, numpy as np
        >>> net = cnn.Network([cnn.Dense(1)], dtype="float64", seed=0).build(2)
        >>> loss, gradients = net.loss_and_gradient(np.ones((3, 2)), np.zeros(3))
        >>> sorted(gradients)
        ['layers.0.biases', 'layers.0.weights']
        """
        rows = data.prepare(X, y, sample_weight, self.loss, self.dtype, self.inputs, self.n_outputs)
        loss, gradient = passes.loss_and_gradient(self, rows, training, n_threads)
        return loss, arena.views(gradient, self.plan.names)

    def update(self, gradients: Mapping[str, Any], learning_rate: float | None = None) -> None:
        """One optimizer step from these gradients (all parameters, by name): for losses and exchanges of one's own.

        Args:
            gradients: shaped as the parameters.
            learning_rate: of this step; None: what the optimizer says.

        >>> import cnn, numpy as np
        >>> net = cnn.Network([cnn.Dense(1)], optimizer=cnn.SGD(0.5), dtype="float64", seed=0).build(1)
        >>> before = net.get_weights()["layers.0.weights"]
        >>> net.update({"layers.0.weights": np.ones((1, 1)), "layers.0.biases": np.zeros(1)})
        >>> (before - net.layers[0].weights).item()
        0.5
        """
        passes.update(self, gradients, learning_rate)

    def __call__(self, X: Any) -> Array:
        """`predict(X)`, as `shap.Explainer(net, X)` and others ask a model."""
        return self.predict(X)

    def forward(self, X: Any, *, training: bool = False, n_threads: int | None = None) -> Array:
        """Raw outputs (n, n_outputs), without the loss's link; what `backward` needs is kept until the next call.

        `training` turns dropout on, with the mask of the next step.
        """
        out, self._tape = passes.forward(self, X, training, n_threads)
        return out

    def backward(self, dout: Any) -> Array | None:
        """dL/dX, shaped as X, from dL/d(outputs) `dout` of the last `forward`; `gradients` are then the parameters'.

        None for sparse X, of which dL/dX would be a dense matrix.

        >>> import cnn, numpy as np
        >>> net = cnn.Network([cnn.Dense(1, use_bias=False)], dtype="float64", seed=0).build(2)
        >>> out = net.forward(np.ones((1, 2)))
        >>> dX = net.backward(np.ones((1, 1)))
        >>> bool(np.all(dX == net.layers[0].weights.T)), net.gradients["layers.0.weights"].ravel()
        (True, array([1., 1.]))
        """
        tape = self._tape  # another thread may put its own in its place
        if tape is None:
            raise RuntimeError("backward needs the forward pass before it: call forward(X) first")
        dout = checks.numeric("dout", dout, self.dtype)
        if dout.shape != (expected := (len(tape.X), self.n_outputs)):
            raise ValueError(f"dout must have the shape of the outputs, {expected}, got {dout.shape}")
        dX, self._gradients = passes.backward(self, tape, dout)
        return dX

    @property
    def gradients(self) -> dict[str, Array]:
        """What the last `backward` found, by name."""
        if self._plan is None or self._gradients is None:
            raise RuntimeError("there are no gradients yet: call forward(X), then backward(dout)")
        return arena.views(self._gradients, self.plan.names)

    def buffers(self, rows: int) -> passes.Buffers:
        """What the C API (docs/c-api.md) needs to work on this network with up to `rows` rows; one for each thread."""
        return passes.buffers(self, checks.integer("rows", rows, 1))

    def predict(self, X: Any, *, out: Array | None = None, n_threads: int | None = None) -> Array:
        """Values or, by the loss's link, probabilities: (n, n_outputs), or (n,) after a fit to 1-d targets.

        Args:
            X: (n, n_inputs) finite numbers of any type and order, also sparse; images or signals shaped as in `fit`, or
                flat.
            out: an array of the result's shape and the network's dtype, C-contiguous: it is filled and returned.
            n_threads: the result has the same bits for every number; None chooses.

        >>> import cnn, numpy as np
        >>> net = cnn.Network([cnn.Dense(3, "tanh"), cnn.Dense(2)], seed=0).build(4)
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

    def layer_outputs(self, X: Any) -> list[Array]:
        """Each layer's outputs, (n, units) or images, for X, without dropout and the loss's link: features of the data.

        Args:
            X: (n, n_inputs) finite numbers of any type and order, also sparse.

        >>> import cnn, numpy as np
        >>> net = cnn.Network([cnn.Dense(3, "tanh"), cnn.Dropout(0.5), cnn.Dense(2)], seed=0).build(4)
        >>> [outputs.shape for outputs in net.layer_outputs(np.ones((5, 4)))]
        [(5, 3), (5, 3), (5, 2)]
        """
        return passes.layer_outputs(self, X)

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
        metrics: MetricName | Literal["auto"] | metrics.Metric | Iterable[MetricName | metrics.Metric] = "auto",
        n_threads: int | None = None,
    ) -> dict[str, float]:
        """{"loss": mean loss plus penalties, metric: value, ...} of rows, without dropout; `metrics` as of `fit`."""
        chosen = evaluation.resolve(metrics, self.loss)
        rows = data.prepare(X, y, sample_weight, self.loss, self.dtype, self.inputs, self.n_outputs)
        return evaluation.evaluate(self, rows, evaluation.check(self.loss, rows, self.n_outputs, chosen), n_threads)

    def summary(self) -> None:
        """Prints layers, their output widths (of images their shapes) and numbers of parameters.

        >>> import cnn
        >>> cnn.Network([cnn.Dense(8, "relu"), cnn.Dense(1)]).build(3).summary()
        layer     description           units  parameters
        layers.0  Dense(8, 'relu')          8          32
        layers.1  Dense(1, 'identity')      1           9
        41 parameters, float32, 164 bytes; loss mse, optimizer Adam
        """
        console.say(reports.summary(self))

    def _repr_html_(self) -> str:
        return reports.html(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_tape": None, "_gradients": None}
