"""Finds the BLAS routines of `scipy.linalg.cython_blas` in its table of C functions."""
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer

import importlib.machinery
import importlib.util
import sys


def _cython_blas():
    """The extension module `scipy.linalg.cython_blas`, without the rest of `scipy.linalg` (0.2 s of imports)."""
    name = "scipy.linalg.cython_blas"
    if name in sys.modules:
        return sys.modules[name]
    import scipy

    finder = importlib.machinery.FileFinder(
        f"{scipy.__path__[0]}/linalg",
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
    )
    spec = finder.find_spec(name)
    if spec is None:  # an editable or frozen SciPy: the ordinary way
        return importlib.import_module(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cdef void* _pointer(dict table, str name) except NULL:
    capsule = table[name]
    return PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))


_table = _cython_blas().__pyx_capi__
blas_sgemm = <gemm_t>_pointer(_table, "sgemm")
blas_dgemm = <gemm_t>_pointer(_table, "dgemm")
