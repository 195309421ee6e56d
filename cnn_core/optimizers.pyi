from enum import IntEnum

class Optimizer(IntEnum):
    SGD = 0  # the first one; all names stand in optimizers.pxd
