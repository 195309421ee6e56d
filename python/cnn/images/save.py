"""Image classifiers into files (docs/files.md): parameters, the network, labels and the numbers of all epochs."""

from __future__ import annotations

import os
from typing import Any

from cnn.files import container
from cnn.files.descriptions import describe
from cnn.files.network import describe_network, history_tensors, network_tensors
from cnn.sklearn.save import describe_classes, describe_parameters, warn_of


def save(est: Any, path: str | os.PathLike[str]) -> None:
    """See `ImageClassifier.save`."""
    parameters, left_out = describe_parameters(est)
    net = est.network_
    payload = {
        "class": type(est).__name__, "parameters": parameters, "network": describe_network(net),
        "history": est.history_.names, "augment": [describe(change) for change in est.augment_],
    }  # fmt: skip
    tensors = network_tensors(net, "network.") | history_tensors(est.history_)
    payload["labels"], tensors["classes"] = describe_classes(est.classes_)
    container.write(path, "images", payload, tensors)
    warn_of(left_out)
