"""Several networks trained on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnn._common.errors import NonFiniteError
from cnn.network import Network
from cnn.runtime.history import History


def train_many(
    networks: Sequence[Network], X: Any, y: Any, *, epochs: int, batch_size: Any = 128, sample_weight: Any = None,
    callbacks: Any = (), rows: Sequence[Any] | None = None, errors: str = "raise", **options: Any,
) -> list[Any]:  # fmt: skip
    """`Network.fit` for each; X, y, batch_size and sample_weight may be lists with one for each network.

    `callbacks` are a list for each network, `rows` the indices of its rows; `errors` "return" puts a NonFiniteError
    in the place of a history.
    """
    n = len(networks)

    def own(value: Any, i: int) -> Any:
        return value[i] if isinstance(value, list) and len(value) == n else value

    def hooks(i: int) -> Any:
        return callbacks[i] if callbacks and all(isinstance(hook, list) for hook in callbacks) else callbacks

    def taken(value: Any, i: int) -> Any:
        value = own(value, i)
        return value if value is None or rows is None else value[rows[i]]

    found: list[History | NonFiniteError] = []
    for i, net in enumerate(networks):
        try:
            found.append(
                net.fit(
                    taken(X, i), taken(y, i), epochs=epochs, batch_size=own(batch_size, i),
                    sample_weight=taken(sample_weight, i), callbacks=hooks(i), **options,
                )
            )  # fmt: skip
        except NonFiniteError as error:
            if errors == "raise":
                raise
            found.append(error)
    return found
