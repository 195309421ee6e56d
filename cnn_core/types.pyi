from enum import IntEnum
from typing import Any

import numpy as np

layer_dtype: np.dtype[Any]
workspace_dtype: np.dtype[Any]
segment_dtype: np.dtype[Any]
loss_dtype: np.dtype[Any]
optimizer_dtype: np.dtype[Any]
share_dtype: np.dtype[Any]
augment_dtype: np.dtype[Any]

class LayerKind(IntEnum):
    DENSE = 0
    DROPOUT = 1
    SCALE = 2
    ADD = 3
    LAYER_NORM = 4
    CATEGORY_EMBEDDING = 5
    PRELU = 6
    PARAMETRIC = 7
    GAUSSIAN_NOISE = 8
    NUMERIC_EMBEDDING = 9
    PIECEWISE_EMBEDDING = 10
    BATCH_NORM = 11
    CONVOLUTION = 12
    MAX_POOL = 13
    AVERAGE_POOL = 14
    FLATTEN = 15

class Augmentation(IntEnum):
    SHIFT = 0
    FLIP = 1
    CUTOUT = 2
    NOISE = 3

class Outside(IntEnum):
    ZEROS = 0
    EDGE = 1
    REFLECT = 2

def cpu_level() -> int: ...
def more_than_128_bits() -> bool: ...
