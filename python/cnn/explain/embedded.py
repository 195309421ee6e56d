"""Networks that begin with embeddings of numbers, seen from behind the bends of their first layer.

A place on a staircase is no input along which slopes add up well: a network bends at each stair. Behind them lie the
embeddings before their activation, e = V z + c, in which the stairs z of a path from row to row change all at once, as
inputs do. So a network is explained as a function of e, and a column has the shares of its e.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnn.layers import PiecewiseEmbedding
from cnn.network import Network
from cnn.table.encode import Encoder

Array = np.ndarray[Any, Any]


class Embedded:
    """What lies behind the first layer of networks on an encoder's embedded inputs.

    Args:
        networks: each without its embeddings, whose relu is still to be applied to its `bent` first inputs.
        inputs: the columns of X that each takes; `places` those of each column of the table.
    """

    def __init__(self, encoder: Encoder, networks: Sequence[Network]) -> None:
        self._encoder, self._first = encoder, [net.layers[0] for net in networks]
        self._columns = len(encoder.stairs)
        self._size = networks[0].descriptions[0].size  # type: ignore[attr-defined]
        self.networks = [_tail(net) for net in networks]
        self.bent = self._columns * self._size
        members, rest = len(networks), np.arange(encoder.n_inputs - self._columns)
        self.inputs = [
            np.concatenate([np.arange(self.bent) + i * self.bent, rest + members * self.bent]) for i in range(members)
        ]
        of_column = np.arange(self._size) + np.arange(members)[:, None] * self.bent
        self.places = {
            name: np.concatenate([
                *((of_column + c * self._size).reshape(-1) for c in place if c < self._columns),
                place[place >= self._columns] - self._columns + members * self.bent,
            ])
            for name, place in encoder.places.items()
        }  # fmt: skip

    def rows(self, frame: Any) -> Array:
        """(n, inputs): the e of each network, then the inputs that are no places."""
        X = self._encoder.encode(frame)
        places, rest = X[:, : self._columns], X[:, self._columns :]
        e = [self._sums(layer, column, places[:, column]) for layer in self._first for column in range(self._columns)]
        return np.hstack([*e, rest])

    def _sums(self, layer: Any, column: int, places: Array) -> Array:
        """(n, size) V z + c of places on the stairs of a column."""
        bins = self._encoder.stairs[column]
        V = layer.weights[column, :, :bins].T
        below = np.vstack([layer.biases[column], layer.biases[column] + np.cumsum(V, axis=0)])
        at = np.clip(np.floor(places), 0, bins - 1).astype(np.intp)
        found: Array = below[at] + (places - at)[:, None].astype(V.dtype) * V[at]
        return found


def _tail(net: Network) -> Network:
    """The network without its first layer, whose weights are copied."""
    embedding = net.descriptions[0]
    assert isinstance(embedding, PiecewiseEmbedding)
    rest = Network(net.descriptions[1:], loss=net.loss, dtype=net.dtype)
    rest.build(net.n_inputs + len(embedding.edges) * (embedding.size - 1))
    first = len("layers.")
    named = {name[first:].partition("."): array for name, array in net.get_weights().items()}
    rest.set_weights({f"layers.{int(i) - 1}.{part}": array for (i, _, part), array in named.items() if int(i)})
    return rest
