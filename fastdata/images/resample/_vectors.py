"""Vector instructions for numba kernels: what a loop would not be compiled to.

Each operation is LLVM code, so numba compiles it for whatever processor it runs on. Offsets are in
bytes from an array's first element, whatever its shape and strides. No operation checks a bound:
its caller does. Importing this module imports numba.

Numba's cache sees changes of the kernel's own file only: after a change here, touch
``_kernels.py``, or run with another ``NUMBA_CACHE_DIR``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import llvmlite.ir
import numba.core
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

# As Any: numba's annotations are partial, and differ between its releases.
ir: Any = llvmlite.ir
cgutils: Any = _cgutils
types: Any = numba.core.types

BITS = 32 - 8 - 2  # fractional bits of a coefficient: Pillow's PRECISION_BITS

AT = types.intp
AT_IR, BYTE, INT32 = ir.IntType(types.intp.bitwidth), ir.IntType(8), ir.IntType(32)
BYTES16, WORDS3, WORDS4 = (ir.VectorType(BYTE, 16), *(ir.VectorType(INT32, n) for n in (3, 4)))


def vector_operation(function: Callable[..., Any]) -> Callable[..., None]:
    return cast("Callable[..., None]", intrinsic(function))


def vector(item: Any, *values: int) -> Any:
    return ir.Constant(ir.VectorType(item, len(values)), list(values))


def address(context: Any, builder: Any, kind: Any, array: Any, offset: Any, item: Any) -> Any:
    """Pointer to ``item`` at ``offset`` bytes from an array's first element."""
    start = context.make_array(kind)(context, builder, array).data
    start = builder.gep(builder.bitcast(start, BYTE.as_pointer()), [offset])
    return builder.bitcast(start, item.as_pointer())


def _weighted(builder: Any, runs: Any, weights: Any, step: Any, taps: Any, lanes: int) -> list[Any]:
    """Sum ``taps`` vectors of bytes, ``step`` apart, each times its weight; round and clip them.

    One result for each pair from ``runs`` and ``weights``, pointers to bytes and to int32.
    """
    narrow, wide = ir.VectorType(BYTE, lanes), ir.VectorType(INT32, lanes)
    half, zero, most = (vector(INT32, *[n] * lanes) for n in (1 << (BITS - 1), 0, 255))
    totals = [cgutils.alloca_once_value(builder, half) for _ in runs]
    with cgutils.for_range(builder, taps) as loop:
        for run, start, total in zip(runs, weights, totals, strict=True):
            pixels = builder.gep(run, [builder.mul(loop.index, step)])
            pixels = builder.load(builder.bitcast(pixels, narrow.as_pointer()), align=1)
            weight = builder.load(builder.gep(start, [loop.index]))
            weight = builder.insert_element(ir.Constant(wide, ir.Undefined), weight, INT32(0))
            weight = builder.shuffle_vector(weight, weight, zero)
            product = builder.mul(builder.zext(pixels, wide), weight)
            builder.store(builder.add(builder.load(total), product), total)
    results = []
    for total in totals:
        value = builder.ashr(builder.load(total), vector(INT32, *[BITS] * lanes))
        value = builder.select(builder.icmp_signed("<", value, zero), zero, value)
        value = builder.select(builder.icmp_signed(">", value, most), most, value)
        results.append(builder.trunc(value, narrow))
    return results


def _weigh(lanes: int) -> Callable[..., None]:
    """Make the operation that computes ``lanes`` neighbouring bytes of an output row."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        dst, d, src, s, step, coefs, c, taps = args
        kinds = signature.args
        run = address(context, builder, kinds[2], src, s, BYTE)
        weights = address(context, builder, kinds[5], coefs, builder.mul(c, c.type(4)), INT32)
        (result,) = _weighted(builder, [run], [weights], step, taps, lanes)
        target = address(context, builder, kinds[0], dst, d, result.type)
        builder.store(result, target, align=1)
        return context.get_dummy_value()

    def weigh(
        _: Any, dst: Any, d: Any, src: Any, s: Any, step: Any, coefs: Any, c: Any, taps: Any
    ) -> Any:
        return types.void(dst, AT, src, AT, AT, coefs, AT, AT), generate

    return vector_operation(weigh)


weigh1, weigh16, weigh64 = _weigh(1), _weigh(16), _weigh(64)


def _transpose(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose 4 × 4 pixels of 4 bytes, each row one vector."""

    def shuffle(a: Any, b: Any, *lanes: int) -> Any:
        return builder.shuffle_vector(a, b, vector(INT32, *lanes))

    a, b, c, d = rows
    left = shuffle(a, b, 0, 4, 1, 5), shuffle(c, d, 0, 4, 1, 5)
    right = shuffle(a, b, 2, 6, 3, 7), shuffle(c, d, 2, 6, 3, 7)
    halves = (0, 1, 4, 5), (2, 3, 6, 7)
    return [shuffle(*side, *half) for side in (left, right) for half in halves]


@vector_operation
def interleave(_: Any, dst: Any, d: Any, src: Any, s0: Any, s1: Any, s2: Any, s3: Any) -> Any:
    """Store 4 pixels of each of 4 rows column by column, as 4 × 4 × 4 bytes.

    Reads 16 bytes a row. The fourth byte of a stored pixel is meaningless.
    """
    spread = vector(INT32, *[3 * pixel + channel for pixel in range(4) for channel in range(4)])

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = []
        for offset in args[3:]:
            source = address(context, builder, signature.args[2], args[2], offset, BYTES16)
            row = builder.load(source, align=1)
            row = builder.shuffle_vector(row, row, spread)
            rows.append(builder.bitcast(row, WORDS4))
        for i, column in enumerate(_transpose(builder, rows)):
            offset = builder.add(args[1], AT_IR(16 * i))
            target = address(context, builder, signature.args[0], args[0], offset, WORDS4)
            builder.store(column, target, align=1)
        return context.get_dummy_value()

    return types.void(dst, AT, src, AT, AT, AT, AT), generate


@vector_operation
def weigh_columns(_: Any, dst: Any, d: Any, src: Any, s: Any, coefs: Any, c: Any, taps: Any) -> Any:
    """Compute 4 output columns of 4 interleaved rows, and write 12 bytes into each of the rows.

    Args: where each row goes in ``dst``; where each column's input begins in ``src``; where its
    coefficients do; how many they are.
    """
    squeeze = vector(INT32, *[4 * pixel + channel for pixel in range(4) for channel in range(3)])

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        dst, d, src, s, coefs, c, taps = args
        kinds = signature.args
        runs, weights, targets = [], [], []
        for i in range(4):
            offset = builder.mul(builder.extract_value(c, i), AT_IR(4))
            weights.append(address(context, builder, kinds[4], coefs, offset, INT32))
            offset = builder.extract_value(s, i)
            runs.append(address(context, builder, kinds[2], src, offset, BYTE))
            offset = builder.extract_value(d, i)
            targets.append(address(context, builder, kinds[0], dst, offset, WORDS3))
        columns = _weighted(builder, runs, weights, AT_IR(16), taps, 16)
        rows = _transpose(builder, [builder.bitcast(column, WORDS4) for column in columns])
        for row, target in zip(rows, targets, strict=True):
            pixels = builder.bitcast(row, BYTES16)
            pixels = builder.shuffle_vector(pixels, pixels, squeeze)
            builder.store(builder.bitcast(pixels, WORDS3), target, align=1)
        return context.get_dummy_value()

    four = types.UniTuple(AT, 4)
    return types.void(dst, four, src, four, coefs, four, AT), generate


@vector_operation
def copy(_: Any, dst: Any, d: Any, src: Any, s: Any, count: Any) -> Any:
    """Copy ``count`` bytes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = address(context, builder, signature.args[0], args[0], args[1], BYTE)
        source = address(context, builder, signature.args[2], args[2], args[3], BYTE)
        cgutils.raw_memcpy(builder, target, source, args[4], 1)
        return context.get_dummy_value()

    return types.void(dst, AT, src, AT, AT), generate
