from enum import IntEnum

class Link(IntEnum):
    IDENTITY = 0  # the first one; all names stand in links.pxd
