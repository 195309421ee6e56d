from enum import IntEnum

class Loss(IntEnum):
    MSE = 0  # the first one; all names stand in losses.pxd
