"""What the engine works on: the state of a network, its plan, rows, threads, and the passes over them."""
