"""The CUDA driver through ctypes: what device is here, and the few calls that a runner needs.

The driver is there or not, whatever Python has installed: a binding would be a dependency for sixteen functions.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_NON_BLOCKING = 1  # a stream that does not wait for the legacy default stream

#: Argument types of each function that is called; all return an int, 0 for success.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuGetErrorName": (c_int, c_void_p),
    "cuDriverGetVersion": (c_void_p,),
    "cuDeviceGetCount": (c_void_p,),
    "cuDeviceGet": (c_void_p, c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (c_void_p, c_int, c_int),
    "cuDevicePrimaryCtxRetain": (c_void_p, c_int),
    "cuCtxSetCurrent": (c_void_p,),
    "cuStreamCreate": (c_void_p, c_uint),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuMemAlloc_v2": (c_void_p, c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
}


class CudaError(RuntimeError):
    """The driver is not there or refuses; the message says what."""


class Device(NamedTuple):
    """The first GPU: its name, compute capability ("8.9") and the CUDA version of the driver ("13.0")."""

    name: str
    compute_capability: str
    driver: str


@functools.cache
def _driver() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libcuda.so.1")
        for name, arguments in _FUNCTIONS.items():
            getattr(library, name).argtypes = arguments
    except OSError:
        raise CudaError("no CUDA driver (libcuda.so.1)") from None
    except AttributeError as error:
        raise CudaError(f"the CUDA driver is too old ({error})") from error
    if code := library.cuInit(0):
        raise CudaError(f"the CUDA driver does not start (cuInit gives {code})")
    return library


def _call(name: str, *arguments: object) -> None:
    if code := getattr(_driver(), name)(*arguments):
        said = c_char_p()
        _driver().cuGetErrorName(code, byref(said))
        raise CudaError(f"{name} gives {code} ({(said.value or b'no such error').decode()})")


def device() -> Device:
    """Return the first GPU.

    Raises
    ------
    CudaError
        There is no driver, it does not start, or it sees no device. Some runtimes crash where this raises: ask first.
    """
    count, version, major, minor, handle = c_int(), c_int(), c_int(), c_int(), c_int()
    _call("cuDeviceGetCount", byref(count))
    if not count.value:
        raise CudaError("the CUDA driver sees no device")
    _call("cuDeviceGet", byref(handle), 0)
    name = ctypes.create_string_buffer(256)
    _call("cuDeviceGetName", name, len(name), handle.value)
    _call("cuDeviceGetAttribute", byref(major), _MAJOR, handle.value)
    _call("cuDeviceGetAttribute", byref(minor), _MINOR, handle.value)
    _call("cuDriverGetVersion", byref(version))
    thousands, rest = divmod(version.value, 1000)
    return Device(name.value.decode(), f"{major.value}.{minor.value}", f"{thousands}.{rest // 10}")


@functools.cache
def _context() -> c_void_p:
    # The primary context is the one that the CUDA runtime inside of TensorRT uses; the process keeps it to its end.
    handle, context = c_int(), c_void_p()
    _call("cuDeviceGet", byref(handle), 0)
    _call("cuDevicePrimaryCtxRetain", byref(context), handle.value)
    return context


def enter() -> None:
    """Make the first GPU's context that of the calling thread; every thread does so before it calls anything below."""
    _call("cuCtxSetCurrent", _context())


class Stream:
    """A queue of work on the GPU; ``handle`` is its CUstream."""

    def __init__(self) -> None:
        stream = c_void_p()
        _call("cuStreamCreate", byref(stream), _NON_BLOCKING)
        self.handle: int = stream.value or 0
        weakref.finalize(self, _let_go, "cuStreamDestroy_v2", self.handle).atexit = False

    def wait(self) -> None:
        """Return when all that was queued is done."""
        _call("cuStreamSynchronize", self.handle)


class Buffer:
    """``size`` bytes of the GPU's memory at ``address``."""

    def __init__(self, size: int) -> None:
        address = c_uint64()
        _call("cuMemAlloc_v2", byref(address), max(size, 1))
        self.address, self.size = address.value, size
        weakref.finalize(self, _let_go, "cuMemFree_v2", self.address).atexit = False

    def put(self, array: npt.NDArray[np.generic], stream: Stream) -> None:
        """Queue the copy of a contiguous array to the GPU; keep it as it is until the stream was waited for."""
        self._fits(array)
        _call("cuMemcpyHtoDAsync_v2", self.address, array.ctypes.data, array.nbytes, stream.handle)

    def get(self, array: npt.NDArray[np.generic], stream: Stream) -> None:
        """Queue the copy from the GPU into a contiguous array; read it when the stream was waited for."""
        self._fits(array)
        _call("cuMemcpyDtoHAsync_v2", array.ctypes.data, self.address, array.nbytes, stream.handle)

    def _fits(self, array: npt.NDArray[np.generic]) -> None:
        if array.nbytes > self.size or not array.flags.c_contiguous:
            raise ValueError(f"expected a contiguous array of up to {self.size} bytes, found one of {array.nbytes}")


def _let_go(function: str, handle: int) -> None:
    # A context that has failed frees nothing any more, and whoever let go has nobody to tell.
    if _driver().cuCtxSetCurrent(_context()) == 0:
        getattr(_driver(), function)(handle)
