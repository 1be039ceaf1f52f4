"""How functions are compiled: the one place with compiler flags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic as numba_intrinsic

# Some versions of numba have types, some have none, and none has those of what is compiled.
_numba: Any = numba
_cgutils: Any = cgutils
intrinsic: Any = numba_intrinsic

# What is compiled has no types but those that numba infers.
Function = Callable[..., Any]

# NUMBA_DISABLE_JIT=1 runs every kernel as plain Python, which coverage can see.
IS_COMPILED = not _numba.config.DISABLE_JIT


def compiled(function: Function) -> Any:
    """Compile a kernel: cached on disk, without the interpreter lock.

    No fast-math: a sum must come out the same on every machine.
    """
    if not IS_COMPILED:
        return _plain(function)
    return _numba.njit(cache=True, nogil=True, error_model="numpy")(function)


def _plain(function: Function) -> Function:
    """Let a kernel run as plain Python on the arguments of the compiled one."""

    def run(*arguments: Any) -> Any:
        records = [
            x.view(np.recarray) if isinstance(x, np.ndarray) and x.dtype.names else x
            for x in arguments
        ]
        # Hashes overflow on purpose; plain numpy numbers would warn.
        with np.errstate(over="ignore"):
            return function(*records)

    return run


def inlined(function: Function) -> Any:
    """Compile a small function that kernels call for each byte or line."""
    return _numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)


def outlined(function: Function) -> Any:
    """Compile a function that kernels call now and then, once and not at every call."""
    return _numba.njit(nogil=True, error_model="numpy")(function)


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, bits: int) -> Any:
    """Return a pointer to `bits` bits that begin at a byte of a byte array or an address."""
    array, index = arguments[:2]
    if isinstance(signature.args[0], types.Array):
        start = context.make_array(signature.args[0])(context, builder, array).data
    else:
        start = builder.inttoptr(array, ir.IntType(8).as_pointer())
    place = _cgutils.gep_inbounds(builder, start, index)
    return builder.bitcast(place, ir.IntType(bits).as_pointer())


def _load(bits: int, result: Any) -> Any:
    """Make an intrinsic that loads a number of `bits` bits, extended to `result` by its sign."""

    @intrinsic  # type: ignore[untyped-decorator]
    def load(typing_context: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _pointer(context, builder, signature, arguments, bits)
            value = builder.load(place, align=1)
            return builder.sext(value, ir.IntType(64)) if result is types.int64 else value

        return result(array, types.int64), generate

    return load


def _store(bits: int, given: Any) -> Any:
    """Make an intrinsic that stores the low `bits` bits of a number."""

    @intrinsic  # type: ignore[untyped-decorator]
    def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _pointer(context, builder, signature, arguments, bits)
            value = arguments[2]
            if value.type.width > bits:
                value = builder.trunc(value, ir.IntType(bits))
            builder.store(value, place, align=1)
            return context.get_dummy_value()

        return types.void(array, types.int64, given), generate

    return store


_load8, _store8 = _load(8, types.uint8), _store(8, types.uint8)
_load32, _store32 = _load(32, types.int64), _store(32, types.int64)
_load64, _store64 = _load(64, types.uint64), _store(64, types.uint64)


@intrinsic  # type: ignore[untyped-decorator]
def _address(typing_context: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), generate


@intrinsic  # type: ignore[untyped-decorator]
def _trailing_zeros(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


def _splat64(builder: Any, byte: Any, vector: Any) -> Any:
    """Return a vector of one byte, 64 times."""
    first = ir.Constant(ir.IntType(32), 0)
    start = builder.insert_element(ir.Constant(vector, ir.Undefined), byte, first)
    order = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
    return builder.shuffle_vector(start, ir.Constant(vector, ir.Undefined), order)


def _vector(context: Any, builder: Any, signature: Any, arguments: Any, size: int = 64) -> Any:
    """Load `size` bytes as one vector."""
    place = _pointer(context, builder, signature, arguments, 8)
    vector = ir.VectorType(ir.IntType(8), size)
    return builder.load(builder.bitcast(place, vector.as_pointer()), align=1)


@intrinsic  # type: ignore[untyped-decorator]
def _mark64(typing_context: Any, array: Any, index: Any, delimiter: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _vector(context, builder, signature, arguments)
        vector = data.type
        delimiters = _splat64(builder, arguments[2], vector)
        special = builder.icmp_unsigned("<", data, ir.Constant(vector, [0x20] * 64))
        special = builder.or_(special, builder.icmp_unsigned("==", data, delimiters))
        quotes = ir.Constant(vector, [0x22] * 64)
        special = builder.or_(special, builder.icmp_unsigned("==", data, quotes))
        return builder.bitcast(special, ir.IntType(64))

    return types.uint64(array, types.int64, types.uint8), generate


@intrinsic  # type: ignore[untyped-decorator]
def _equal64(typing_context: Any, array: Any, index: Any, byte: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _vector(context, builder, signature, arguments)
        same = builder.icmp_unsigned("==", data, _splat64(builder, arguments[2], data.type))
        return builder.bitcast(same, ir.IntType(64))

    return types.uint64(array, types.int64, types.uint8), generate


@intrinsic  # type: ignore[untyped-decorator]
def _differ32(typing_context: Any, array: Any, index: Any, other: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _vector(context, builder, signature, arguments, 32)
        pair = types.void(*signature.args[2:])
        others = _vector(context, builder, pair, arguments[2:], 32)
        differ = builder.bitcast(builder.icmp_unsigned("!=", data, others), ir.IntType(32))
        return builder.zext(differ, ir.IntType(64))

    return types.uint64(array, types.int64, other, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _beyond_ascii64(typing_context: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _vector(context, builder, signature, arguments)
        beyond = builder.icmp_signed("<", data, ir.Constant(data.type, [0] * 64))
        return builder.bitcast(beyond, ir.IntType(64))

    return types.uint64(array, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _count_bits(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


def _load8_plain(array: Any, index: int) -> Any:
    return array[index]


def _store8_plain(array: Any, index: int, value: Any) -> None:
    array[index] = value


def _load32_plain(array: Any, index: int) -> int:
    return int.from_bytes(bytes(array[index : index + 4]), "little", signed=True)


def _store32_plain(array: Any, index: int, value: int) -> None:
    array[index : index + 4] = np.frombuffer(
        int(value).to_bytes(4, "little", signed=True), np.uint8
    )


def _load64_plain(array: Any, index: int) -> Any:
    return np.uint64(int.from_bytes(bytes(array[index : index + 8]).ljust(8, b"\0"), "little"))


def _store64_plain(array: Any, index: int, value: Any) -> None:
    array[index : index + 8] = np.frombuffer(int(value).to_bytes(8, "little"), np.uint8)


def _address_plain(array: Any) -> Any:
    return array


def _trailing_zeros_plain(value: Any) -> Any:
    value = int(value)
    return np.uint64((value & -value).bit_length() - 1 if value else 64)


def _mark64_plain(array: Any, index: int, delimiter: Any) -> Any:
    word = 0
    for i, byte in enumerate(bytes(array[index : index + 64])):
        if byte < 32 or byte in (34, int(delimiter)):
            word |= 1 << i
    return np.uint64(word)


def _equal64_plain(array: Any, index: int, byte: Any) -> Any:
    word = 0
    for i, one in enumerate(bytes(array[index : index + 64])):
        word |= (one == int(byte)) << i
    return np.uint64(word)


def _differ32_plain(array: Any, index: int, other: Any, place: int) -> Any:
    word = 0
    pairs = zip(array[index : index + 32], other[place : place + 32], strict=True)
    for i, (one, two) in enumerate(pairs):
        word |= int(one != two) << i
    return np.uint64(word)


def _beyond_ascii64_plain(array: Any, index: int) -> Any:
    word = 0
    for i, byte in enumerate(bytes(array[index : index + 64])):
        word |= (byte > 127) << i
    return np.uint64(word)


def _count_bits_plain(value: Any) -> int:
    return int(value).bit_count()


# address(bytes): what the functions below take in place of a byte array; it costs less to hand on,
# for it is not counted as a use of the array, which must be an argument of the kernel.
address: Any = _address if IS_COMPILED else _address_plain
# load64(bytes, index): eight bytes as one little-endian number, from any place; the array must
# reach at least eight bytes past the last place read. load8 and load32 (signed) are alike, and
# store8, store32 and store64 their counterparts.
load8: Any = _load8 if IS_COMPILED else _load8_plain
store8: Any = _store8 if IS_COMPILED else _store8_plain
load32: Any = _load32 if IS_COMPILED else _load32_plain
store32: Any = _store32 if IS_COMPILED else _store32_plain
load64: Any = _load64 if IS_COMPILED else _load64_plain
store64: Any = _store64 if IS_COMPILED else _store64_plain
# mark64(bytes, index, delimiter): a bit for each of 64 bytes that is the delimiter, a quote or
# a control byte; equal64(bytes, index, byte): for each that is `byte`; beyond_ascii64: for each
# above 0x7F; differ32(bytes, index, others, place): for each of 32 that is not as there. The array
# must reach 64 bytes past `index`.
beyond_ascii64: Any = _beyond_ascii64 if IS_COMPILED else _beyond_ascii64_plain
equal64: Any = _equal64 if IS_COMPILED else _equal64_plain
differ32: Any = _differ32 if IS_COMPILED else _differ32_plain
mark64: Any = _mark64 if IS_COMPILED else _mark64_plain
count_bits: Any = _count_bits if IS_COMPILED else _count_bits_plain
trailing_zeros: Any = _trailing_zeros if IS_COMPILED else _trailing_zeros_plain
