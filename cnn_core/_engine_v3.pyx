include "_engine.pyx"
