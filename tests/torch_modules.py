"""Stands in for torch.nn where PyTorch is not installed: modules with the fields that PyTorch's have, and its names."""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    import torch
except ImportError:
    torch = None


def _fields(cls: str, rank: int, *arguments: Any, **given: Any) -> dict[str, Any]:
    """What a module of that name has, by PyTorch's defaults."""

    def each(value: Any) -> Any:
        return value if isinstance(value, str | tuple) else (value,) * rank

    def of(names: str, **defaults: Any) -> dict[str, Any]:
        return {**defaults, **dict(zip(names.split(), arguments, strict=False)), **given}

    if cls == "Linear":
        found = of("in_features out_features", bias=True)
        shape: Any = (found["out_features"], found["in_features"])
        return found | {"weight": np.empty(shape), "bias": np.empty(shape[0]) if found["bias"] else None}
    if cls.startswith("Conv"):
        found = of("in_channels out_channels kernel_size stride padding dilation groups bias", stride=1, padding=0,
                   dilation=1, groups=1, bias=True, padding_mode="zeros")  # fmt: skip
        found |= {name: each(found[name]) for name in ("kernel_size", "stride", "padding", "dilation")}
        shape = (found["out_channels"], found["in_channels"] // found["groups"], *found["kernel_size"])
        return found | {"weight": np.empty(shape), "bias": np.empty(shape[0]) if found["bias"] else None}
    if cls.startswith("BatchNorm"):
        found = of("num_features eps momentum", eps=1e-5, momentum=0.1, affine=True, track_running_stats=True)
        n, affine, tracked = found["num_features"], found.pop("affine"), found.pop("track_running_stats")
        found |= {name: np.empty(n) if affine else None for name in ("weight", "bias")}
        return found | {name: np.empty(n) if tracked else None for name in ("running_mean", "running_var")}
    if cls == "LayerNorm":
        n = arguments[0]
        return of("normalized_shape eps", eps=1e-5) | {"weight": np.empty(n), "bias": np.empty(n)}
    if cls == "PReLU":
        return {"weight": np.empty(given.get("num_parameters", arguments[0] if arguments else 1))}
    if "Pool" in cls:
        found = of("kernel_size stride padding", padding=0, ceil_mode=False, stride=None)
        adaptive = {"output_size": arguments[0]} if cls.startswith("Adaptive") else {}
        only = {"dilation": 1, "return_indices": False} if "Max" in cls else {"count_include_pad": True}
        found["stride"] = found["kernel_size"] if found["stride"] is None else found["stride"]
        return only | found | adaptive
    if cls.startswith("ZeroPad"):
        return {"padding": arguments[0]}
    return {"Flatten": of("start_dim end_dim", start_dim=1, end_dim=-1), "Dropout": of("p", p=0.5),
            "LeakyReLU": of("negative_slope", negative_slope=0.01), "ELU": of("alpha", alpha=1.0),
            "GELU": of("approximate", approximate="none"), "Softmax": of("dim", dim=None),
            "Softplus": of("beta threshold", beta=1, threshold=20)}.get(cls, {})  # fmt: skip


class _Module:
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


_WEIGHTS = ("weight", "bias", "running_mean", "running_var")


class _Sequential(list):
    def __init__(self, *modules: Any) -> None:
        super().__init__(modules)

    def forward(self) -> None:
        """PyTorch's own."""

    def state_dict(self) -> dict[str, Any]:
        return {f"{i}.{name}": value for i, module in enumerate(self) for name in _WEIGHTS
                if isinstance(value := getattr(module, name, None), np.ndarray)}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert {name: value.shape for name, value in state.items()} == {
            name: value.shape for name, value in self.state_dict().items()
        }
        for name, value in state.items():
            place, _, what = name.partition(".")
            setattr(self[int(place)], what, value)

    def eval(self) -> Any:
        return self


def _named(cls: str, base: type) -> type:
    return type(cls, (base,), {"__module__": "torch.nn.modules"})


class _Nn:
    """Its classes, each with a name and a home as PyTorch's."""

    Sequential: Any = _named("Sequential", _Sequential)

    def __getattr__(self, cls: str) -> Any:
        if cls.startswith("_"):
            raise AttributeError(cls)

        def make(*arguments: Any, **given: Any) -> Any:
            made = _named(cls, _Module)()
            rank = int(cls[-2]) if cls[-2].isdigit() else 0
            vars(made).update(_fields(cls, rank, *arguments, **given))
            return made

        return make


nn: Any = _Nn() if torch is None else torch.nn


def filled(model: Any, dtype: str = "float32") -> Any:
    """The Sequential with weights by a formula; running variances are positive."""
    k = 0

    def numbers(shape: tuple[int, ...], positive: bool) -> Any:
        nonlocal k
        values = np.sin(1.0 + np.arange(k, k + int(np.prod(shape)))).reshape(shape)
        k += values.size
        return (1.5 + values if positive else 0.5 * values).astype(dtype)

    for module in model:
        for name in _WEIGHTS:
            value = getattr(module, name, None)
            if value is None or isinstance(value, bool):
                continue
            values = numbers(tuple(value.shape), name == "running_var")
            if torch is None:
                setattr(module, name, values)
            elif isinstance(value, torch.nn.Parameter):
                setattr(module, name, torch.nn.Parameter(torch.from_numpy(values)))
            else:
                setattr(module, name, torch.from_numpy(values))
    return model if torch is None else model.eval()


def images(shape: tuple[int, ...], n: int = 2, dtype: str = "float32") -> Any:
    """(n, *image, channels) by a formula."""
    return np.cos(np.arange(n * int(np.prod(shape)))).reshape(n, *shape).astype(dtype)
