"""Vector instructions that blend two pixels: ``p + round((q - p) * w)``, w in units of 2^-15.

As in ``_vectors``, no operation checks a bound, and numba's cache sees no change of this file:
touch ``_plain.py`` after one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._vectors import AT, AT_IR, BYTE, INT32, address, ir, types, vector, vector_operation

WORD = ir.IntType(16)
BYTES8, WORDS16 = ir.VectorType(BYTE, 8), ir.VectorType(WORD, 16)


def _blended(builder: Any, p: Any, q: Any, weight: Any, lanes: int) -> Any:
    """Blend vectors of 16-bit words that hold 0 to 255; the result is bytes.

    All but the product fits into 16 bits, and of that the upper half is enough: what it loses
    lies 11 bits down, where rounding does not see it. So one instruction multiplies (pmulhw).
    """
    words, wide = ir.VectorType(WORD, lanes), ir.VectorType(INT32, lanes)

    def every(number: int) -> Any:
        return vector(WORD, *[number] * lanes)

    step = builder.shl(builder.sub(q, p), every(5))
    step = builder.mul(builder.sext(step, wide), builder.sext(weight, wide))
    step = builder.trunc(builder.ashr(step, vector(INT32, *[16] * lanes)), words)
    step = builder.ashr(builder.add(step, every(8)), every(4))
    value, zero, most = builder.add(p, step), every(0), every(255)
    # It never leaves that range; saying so makes narrowing one instruction (packuswb).
    value = builder.select(builder.icmp_signed("<", value, zero), zero, value)
    value = builder.select(builder.icmp_signed(">", value, most), most, value)
    return builder.trunc(value, ir.VectorType(BYTE, lanes))


@vector_operation
def blend4(_: Any, dst: Any, d: Any, src: Any, s: Any, offsets: Any, weights: Any, x: Any) -> Any:
    """Compute 4 neighbouring pixels from ``x`` on, each from two neighbouring ones; write 16 bytes.

    ``offsets`` (int32) says where in ``src``, from ``s`` on, the two begin, of which 8 bytes are
    read; ``weights`` (int16) has the second one's weight four times.
    """
    pixels = [8 * pixel + channel for pixel in range(4) for channel in range(4)]
    squeeze = [4 * pixel + channel for pixel in range(4) for channel in range(3)] + [0] * 4

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        dst, d, src, s, offsets, weights, x = args
        kinds = signature.args
        start = address(context, builder, kinds[2], src, s, BYTE)
        offset = address(context, builder, kinds[4], offsets, builder.mul(x, AT_IR(4)), INT32)
        found = []
        for i in range(4):
            pair = builder.zext(builder.load(builder.gep(offset, [AT_IR(i)])), AT_IR)
            pair = builder.bitcast(builder.gep(start, [pair]), BYTES8.as_pointer())
            found.append(builder.load(pair, align=1))
        halves = [builder.shuffle_vector(*found[i : i + 2], _lanes(range(16))) for i in (0, 2)]
        together = builder.shuffle_vector(*halves, _lanes(range(32)))
        p, q = (_spread(builder, together, [lane + by for lane in pixels]) for by in (0, 3))
        weight = address(context, builder, kinds[5], weights, builder.mul(x, AT_IR(8)), WORDS16)
        result = _blended(builder, p, q, builder.load(weight, align=1), 16)
        result = builder.shuffle_vector(result, result, _lanes(squeeze))
        target = address(context, builder, kinds[0], dst, d, result.type)
        builder.store(result, target, align=1)
        return context.get_dummy_value()

    return types.void(dst, AT, src, AT, offsets, weights, AT), generate


def _lanes(lanes: Any) -> Any:
    return vector(INT32, *lanes)


def _spread(builder: Any, source: Any, lanes: list[int]) -> Any:
    """Those bytes as 16-bit words."""
    zero = vector(BYTE, *[0] * 32)
    spread = builder.shuffle_vector(source, zero, _lanes(n for lane in lanes for n in (lane, 32)))
    return builder.bitcast(spread, ir.VectorType(WORD, len(lanes)))


def _blend(lanes: int) -> Callable[..., None]:
    """Make the operation that blends ``lanes`` bytes of two rows, with one weight for all."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        dst, d, src, s0, s1, weight = args
        kinds, run, words = signature.args, ir.VectorType(BYTE, lanes), ir.VectorType(WORD, lanes)
        p, q = (address(context, builder, kinds[2], src, s, run) for s in (s0, s1))
        p, q = (builder.zext(builder.load(row, align=1), words) for row in (p, q))
        weight = builder.trunc(weight, WORD)
        weight = builder.insert_element(ir.Constant(words, ir.Undefined), weight, INT32(0))
        weight = builder.shuffle_vector(weight, weight, _lanes([0] * lanes))
        target = address(context, builder, kinds[0], dst, d, run)
        builder.store(_blended(builder, p, q, weight, lanes), target, align=1)
        return context.get_dummy_value()

    def blend(_: Any, dst: Any, d: Any, src: Any, s0: Any, s1: Any, weight: Any) -> Any:
        return types.void(dst, AT, src, AT, AT, AT), generate

    return vector_operation(blend)


blend32 = _blend(32)
