"""`NetworkState`: what the engine needs of a network and what a fit leaves in it; the verbs are in network.py."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np

import cnn_core
from cnn import losses, optimizers, schedules
from cnn._common import checks, console, interrupt, naming, threads
from cnn._common.errors import NotBuiltError
from cnn._common.images import PIXELS, Images, Pixels, Takes, channels_first, plain
from cnn.layers import Layer, Parameter, Shape, checked
from cnn.losses import Loss
from cnn.optimizers import Optimizer
from cnn.runtime import arena
from cnn.runtime.data import Array
from cnn.runtime.history import History
from cnn.runtime.layer_view import LayerView
from cnn.runtime.plan import Plan, placed
from cnn.runtime.plan import build as build_plan

# Arithmetic of rows that are predicted row by row, up to which one thread is as soon as a team: some 100 us.
_ALONE_FLOPS = 5e7


class NetworkState:
    """Descriptions, parameters, the optimizer's state, counters and history of a network.

    Args: as of `cnn.Network`.

    >>> from cnn.layers import Dense
    >>> state = NetworkState([Dense(2)], seed=0).build(3)
    >>> sorted(state.parameters), state.step
    (['layers.0.biases', 'layers.0.weights'], 0)
    """

    _pixels: Pixels = None
    # Of a network that is built:
    flat: Array
    state: Array
    scalars: Array
    counter: Array
    _parameters: dict[str, Array]

    def __init__(
        self,
        layers: Sequence[Layer],
        loss: str | Loss = "mse",
        optimizer: str | Optimizer = "adam",
        dtype: Any = "float32",
        seed: int | None = None,
        dropout_factor: schedules.Schedule | None = None,
    ) -> None:
        self._plan: Plan | None = None
        self.descriptions = checked(layers)
        self.loss = loss
        self.optimizer = optimizer
        self.dtype = checks.real_dtype(dtype)
        if not isinstance(dropout_factor, schedules.Schedule | None):
            raise TypeError(f"dropout_factor must be a cnn.schedules.Schedule, got {dropout_factor!r}")
        self.dropout_factor = dropout_factor
        self.seed_given = seed is not None
        seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.seed = checks.integer("seed", seed, 0, 2**64 - 1)
        self.history = History()
        self.one_dimensional = False  # predict gives (n,): so were the targets of the fit
        self.training_id = secrets.token_hex(8)  # by which checkpoints know what is of one training
        self.rate_factor = 1.0  # what `ReduceOnPlateau` has made of the learning rate
        self.stop_training = False
        self.activation_choice = ""  # what the fit chose for activation="auto", and why
        self.predictor: Any = None

    @property
    def loss(self) -> Loss:
        """What is minimised. Another one may be set, by its name too: parameters and the optimizer's state stay."""
        found: Loss = self.__dict__["loss"]  # data descriptors come before it; copies and pickles take it from there
        return found

    @loss.setter
    def loss(self, given: str | Loss) -> None:
        loss = losses.get(given)
        if loss.one_class and self.n_outputs < 2:
            raise ValueError(
                "cross_entropy needs an output for each class, got 1; for two classes and one output use "
                "loss='binary_cross_entropy'"
            )
        if self.n_outputs % loss.facts.outputs:
            what = f"{loss.facts.outputs} outputs for each target"
            raise ValueError(f"{loss.name} needs {what}, and the network has {self.n_outputs}")
        placed(self.descriptions, loss)
        if self._plan is None:
            self.__dict__["loss"] = loss
        else:
            self.use_plan(self._replanned(loss, self.optimizer), loss=loss)

    @property
    def optimizer(self) -> Optimizer:
        """What makes the steps. Another one may be set, by its name too; of another kind, it begins its state anew."""
        found: Optimizer = self.__dict__["optimizer"]
        return found

    @optimizer.setter
    def optimizer(self, given: str | Optimizer) -> None:
        optimizer = optimizers.get(given)
        if self._plan is None:
            self.__dict__["optimizer"] = optimizer
            return
        made = self._replanned(self.loss, optimizer)
        fresh = type(optimizer) is not type(self.optimizer) or made.slots != self._plan.slots
        self.use_plan(made, optimizer=optimizer, fresh=fresh)

    def _replanned(self, loss: Loss, optimizer: Optimizer) -> Plan:
        """The plan with another loss or optimizer."""
        by_blas = self.plan.layers["by_blas"].tolist()
        return build_plan(self.descriptions, self.input_shape, loss, optimizer, by_blas)

    def build(self, n_inputs: int | Sequence[int]) -> Self:
        """Makes the parameters for that many inputs; the first fit does it by itself. Returns the network.

        For images `n_inputs` is their shape, (height, width, channels), for signals (length, channels).
        """
        shape = checks.shape("n_inputs", n_inputs)
        if self._plan is not None:
            if shape != self.input_shape:
                known = self.n_inputs if len(self.input_shape) == 1 else f"{plain(self.input_shape)} as"
                raise ValueError(f"the network takes {known} inputs already, got n_inputs={n_inputs}")
            return self
        if self.chooses_activation:
            raise ValueError("activation='auto' is chosen by the first fit, on its data: fit first, or name one")
        made = build_plan(self.descriptions, shape, self.loss, self.optimizer)
        arrays = self._arrays(made)
        for i, layer in enumerate(placed(self.descriptions, self.loss)):
            for j, parameter in enumerate(layer.parameters(made.shapes[i])):
                self._draw(arrays["_parameters"][f"layers.{i}.{parameter.name}"], (self.seed, i, j), parameter)

        def built() -> None:
            if self._plan is None:
                self.use_plan(made, arrays=arrays)

        threads.at_a_moment(built)  # last: a network whose building was broken off is not built
        return self.build(n_inputs)  # which another thread may have built meanwhile, for other inputs

    def _arrays(self, made: Plan) -> dict[str, Any]:
        """Parameters and optimizer state of a network that is built by that plan, all zero."""
        flat = arena.aligned_zeros(made.size, self.dtype)
        return {
            "flat": flat, "_parameters": arena.views(flat, made.names), "scalars": np.zeros(4),
            "state": arena.aligned_zeros(made.slots * made.size, self.dtype), "counter": np.zeros(1, np.int64),
        }  # fmt: skip

    def adopt(self, made: Plan) -> None:
        """Builds the network by a plan of it, `made`, with zeros: for those who have its parameters already."""
        self.use_plan(made, arrays=self._arrays(made))

    def use_plan(
        self, made: Plan, layers: tuple[Layer, ...] | None = None, optimizer: Optimizer | None = None, *,
        loss: Loss | None = None, fresh: bool = False, arrays: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Makes the plan `made` the network's; its parameters must have the places that `flat` has.

        With the layers, the optimizer and the loss that the plan is of, if they are others; `fresh` begins the
        optimizer's state; `arrays` takes the place of all that the network has.
        """
        loss, found = loss or self.loss, dict(arrays or {})
        found["predictor"] = make_predictor(made, self.flat if arrays is None else arrays["flat"], loss)
        found["predictor"].pixels = PIXELS.index(self._pixels)
        if fresh:
            state = arena.aligned_zeros(made.slots * made.size, self.dtype)
            found |= {"state": state, "counter": np.zeros(1, np.int64)}
        found |= {"descriptions": layers or self.descriptions, "optimizer": optimizer or self.optimizer, "loss": loss}
        # All at once: no Ctrl-C leaves a part of it. The plan last: a thread that sees it sees what belongs to it.
        vars(self).update(found | {"_plan": made})

    def state_of(self, plan: Plan) -> Array:
        """The optimizer's state, for a step by that plan of this network.

        Raises:
            RuntimeError: another thread has set another optimizer since the plan was taken.
        """
        state = self.state
        if len(state) != plan.slots * plan.size:
            raise RuntimeError("another thread has set another optimizer meanwhile")
        return state

    def _draw(self, view: Array, seed: tuple[int, ...], parameter: Parameter) -> None:
        """Initial values that depend on the seed and the parameter's place alone."""
        if parameter.values is not None:
            view[...] = parameter.values
        elif parameter.initializer.name != "zeros":  # which they are
            rng = np.random.default_rng(seed)
            draw = partial(parameter.initializer.draw, view.shape, rng, parameter.activation)
            view[...] = interrupt.apart(view.size, draw)

    @property
    def plan(self) -> Plan:
        """The plan the engine walks."""
        if self._plan is None:
            raise NotBuiltError()
        return self._plan

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Views of the parameters by name ("layers.0.weights", ...)."""
        self.plan  # noqa: B018 (raises when not built)
        return self._parameters

    @property
    def n_inputs(self) -> int:
        """Numbers of a row of X."""
        return self.plan.n_inputs

    @property
    def input_shape(self) -> Shape:
        """The shape of X without the rows: (n_inputs,), (length, channels) or (height, width, channels)."""
        return self.plan.shapes[0]

    @property
    def n_outputs(self) -> int:
        """Numbers of a row that `forward` gives."""
        return self.descriptions[-1].output_shape((1,))[0]

    @property
    def layers(self) -> tuple[LayerView, ...]:
        """The layers, bound to this network's parameters."""
        return tuple(LayerView(self, i) for i in range(len(self.descriptions)))

    @property
    def known_inputs(self) -> int | None:
        """The number of inputs, or None before it is known."""
        return None if self._plan is None else self._plan.n_inputs

    @property
    def takes(self) -> Takes:
        """What X must be: rows of so many numbers (None: not known yet), or images."""
        axes = next((layer.axes for layer in self.descriptions if layer.axes), (1,))
        if axes == (1,):
            return self.known_inputs
        return Images(None if self._plan is None else self.input_shape, axes, self._pixels)

    @property
    def pixels(self) -> Pixels:
        """What images it was trained on: "bytes" (uint8), or numbers "beyond" [0, 1]."""
        return self._pixels

    @pixels.setter
    def pixels(self, found: Pixels) -> None:
        self._pixels = found
        if self.predictor is not None:
            self.predictor.pixels = PIXELS.index(found)

    @property
    def inputs(self) -> Takes:
        """The same of a network that is built."""
        self.plan  # noqa: B018 (raises when not built)
        return self.takes

    def check_images(self, shape: Shape) -> None:
        """ValueError where the layers of a network that is not built can't read images of that shape."""
        if self._plan is not None or len(shape) == 1:
            return
        if channels_first(shape):
            console.warn(
                f"X has images of {shape[0]} x {shape[1]} pixels and {shape[2]} channels; if its channels stand first, "
                "give np.moveaxis(X, 1, -1)"
            )
        for layer in self.descriptions:
            if not layer.is_open:
                layer.parameters(shape)
            shape = layer.output_shape(shape)

    @property
    def chooses_activation(self) -> bool:
        """Whether a layer's activation is still "auto"."""
        return any(layer.is_open for layer in self.descriptions)

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
        """Sets parameters to `weights`, by name, all unless `partial`; nothing is changed when one does not fit."""
        parameters = self.parameters
        if not isinstance(weights, Mapping):
            raise TypeError(f"weights must be a mapping of names to arrays, got {type(weights).__name__}")
        ready = {}
        for name, value in weights.items():
            if name not in parameters:
                raise naming.unknown("parameter", name, parameters)
            array = checks.numeric(name, value, self.dtype)
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

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.descriptions))
        factor = "" if self.dropout_factor is None else f", dropout_factor={self.dropout_factor!r}"
        return (
            f"Network([{inside}], loss={self.loss!r}, optimizer={self.optimizer!r}, dtype={self.dtype.name!r}, "
            f"seed={self.seed}{factor})"
        )

    def __copy__(self) -> Self:
        """A whole copy: networks that shared half of their state would train each other."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """All but what is made again: the plan, the views and the predictor."""
        state = {k: v for k, v in vars(self).items() if k not in ("_parameters", "_plan", "predictor")}
        state["input_shape"] = None if self._plan is None else self.input_shape
        state["by_blas"] = None if self._plan is None else self._plan.layers["by_blas"].tolist()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        shape, by_blas = state.pop("input_shape"), state.pop("by_blas", None)
        vars(self).update(state)
        self._plan, self.predictor = None, None
        self.training_id = secrets.token_hex(8)  # a copy is another training
        if shape is not None:  # unpickled arrays are not aligned
            self.adopt(build_plan(self.descriptions, shape, self.loss, self.optimizer, by_blas))
            for name in ("flat", "state", "scalars", "counter"):
                getattr(self, name)[...] = state[name]


def make_predictor(plan: Plan, flat: Array, loss: Loss) -> Any:
    """The core's `Predictor` for rows of that plan, with the parameters in `flat`."""
    tiles = plan.tiles
    predictor = cnn_core.engine.Predictor(tiles.layers, tiles.workspace, flat, loss.kind, plan.shapes[0])
    predictor.alone = int(min(_ALONE_FLOPS / tiles.flops_of_a_few, 1 << 30))
    predictor.apart = tiles.apart
    return predictor
