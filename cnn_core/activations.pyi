from enum import IntEnum

class Activation(IntEnum):
    IDENTITY = 0  # the first one; all names stand in activations.pxd
