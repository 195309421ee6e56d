"""Image classifiers from files: every field is checked as the class itself checks it."""

from __future__ import annotations

from cnn import augment
from cnn.augment import Augmentation
from cnn.files.container import Contents
from cnn.files.descriptions import revive
from cnn.files.network import read_history, revive_network
from cnn.files.strict_json import shown
from cnn.images.classifier import ImageClassifier
from cnn.network import Network
from cnn.sklearn.load import cannot_be, revive_classes, revive_parameters


def from_file(contents: Contents) -> ImageClassifier:
    """The classifier of an open file; ModelFormatError where anything is not as `save` writes it."""
    name, parameters, network, history, labels, changes = contents.fields(
        contents.payload, "class", "parameters", "network", "history", "labels", "augment"
    )
    if name != ImageClassifier.__name__:
        raise contents.error(f"it names {shown(name)}, which is no image classifier that this version of cnn knows")
    try:
        est: ImageClassifier = revive_parameters(contents, ImageClassifier, parameters)
        est.check_parameters()
        net = revive_network(contents, network, Network, "network.")
        if len(net.input_shape) != 3 or not net.loss.one_class or net.n_outputs < 2:
            raise ValueError(f"its network has the loss {net.loss!r}, inputs {net.input_shape}")
        revive_classes(contents, est, net, "binary" if net.n_outputs == 2 else "multiclass", labels, False)
        if not isinstance(changes, list):
            raise ValueError(f"augment is {shown(changes)}")
        changed = augment.all_of([revive(contents, change, Augmentation) for change in changes])
        est._adopt(net, est.classes_, read_history(contents, history), list(changed))
    except (TypeError, ValueError, OverflowError) as error:
        raise cannot_be(contents, error) from None
    return est
