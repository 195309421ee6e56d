"""What happened in each epoch of a fit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn import plots
from cnn._common import html_tables
from cnn._common.elsewhere import nearest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_SHOWN = 10  # epochs in a notebook


class History:
    """Numbers by epoch: `history.loss`, `.val_loss`, each metric and its `val_` twin, `.learning_rate`, `.seconds`.

    >>> history = History()
    >>> history.append(0, {"loss": 1.0, "seconds": 0.1})
    >>> history.loss, history.epoch
    ([1.0], [0])
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self._values: dict[str, list[float]] = {}

    @classmethod
    def of(cls, epochs: list[int], values: dict[str, list[float]]) -> History:
        """The history of these `epochs`, with `values` by name, one for each."""
        made = cls()
        made.epoch, made._values = epochs, values
        return made

    def append(self, epoch: int, logs: dict[str, float]) -> None:
        """Adds an epoch; a name that is new is NaN for the epochs before."""
        for name in logs:
            if name not in self._values:
                self._values[name] = [math.nan] * len(self.epoch)
        for name, values in self._values.items():
            values.append(float(logs.get(name, math.nan)))
        self.epoch.append(epoch)

    def put(self, at: int, epoch: int, columns: dict[str, list[float]]) -> None:
        """Puts epochs from `epoch` on, their numbers as `columns`, behind the first `at` ones, in place of others."""
        n = len(next(iter(columns.values())))
        for name in columns:
            if name not in self._values:
                self._values[name] = [math.nan] * at
        for name, values in self._values.items():
            values[at:] = columns.get(name, [math.nan] * n)
        self.epoch[at:] = range(epoch, epoch + n)

    def trim(self) -> None:
        """Drops what was added for an epoch that was not finished."""
        for values in self._values.values():
            del values[len(self.epoch) :]

    def since(self, begin: int, names: Iterable[str]) -> History:
        """The epochs from the `begin`-th recorded one on, with these of the names."""
        part = History()
        part.epoch = self.epoch[begin:]
        part._values = {name: self._values.get(name, [])[begin:] for name in names}
        return part

    def __getattr__(self, name: str) -> list[float]:
        if not name.startswith("_") and name in self._values:
            return self._values[name]
        near = "" if name.startswith("_") else nearest(name, self.names)
        hint = f" (did you mean {near!r}?)" if near else ""
        raise AttributeError(f"this history has no {name!r}{hint}; it has {', '.join(self.names) or 'no epochs yet'}")

    def __getitem__(self, name: str) -> list[float]:
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __len__(self) -> int:
        return len(self.epoch)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self._values.items() if values)
        return f"History({len(self)} epoch{'' if len(self) == 1 else 's'}{': ' if last else ''}{last})"

    def _repr_html_(self) -> str:
        """The last epochs, the best of each number being for you to find in `to_frame()`."""
        first = max(len(self) - _SHOWN, 0)
        rows = [[epoch, *(f"{self._values[name][i]:.4g}" for name in self.names)]
                for i, epoch in enumerate(self.epoch) if i >= first]  # fmt: skip
        return html_tables.table([["epoch", *self.names], *rows], repr(self).partition(":")[0].rstrip(")") + ")")

    @property
    def names(self) -> list[str]:
        """Of the numbers that each epoch has."""
        return list(self._values)

    def to_dict(self) -> dict[str, list[float]]:
        """Lists by name, the epochs among them."""
        return {"epoch": [float(e) for e in self.epoch], **{k: list(v) for k, v in self._values.items()}}

    def to_frame(self) -> pd.DataFrame:
        """A data frame with a row for each epoch (needs the extra `pandas`)."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_frame needs pandas (extra 'pandas'): pip install pandas") from error
        return pd.DataFrame(self._values, index=pd.Index(self.epoch, name="epoch"))

    def plot(self, path: str | Path | None = None) -> Figure:
        """Learning curves, training against validation: the loss, then each metric (needs the extra `plot`)."""
        figure = plots.curves(self)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure

    def __getstate__(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "_values": self._values}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
