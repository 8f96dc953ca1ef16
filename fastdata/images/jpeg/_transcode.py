"""Lossless rewriting of a JPEG with restart markers, so that it can be cut (ITU-T T.81 F.1.1.5)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats.jpeg import DHT, DNL, EOI, SOS
from ._header import Buffer, JpegHeader, Reason, UnfitError, parse, segment
from ._index import build_head, choose_interval

_CATEGORIES = 12  # of DC differences at 8 bits a sample (T.81 table F.1)
_PADDING = 4096  # zero bytes after the scan: an MCU of garbage is shorter, 10 × 64 × 31 bits
_ADDED = 1 << 32


class Transcoded(NamedTuple):
    """A sliceable record, itself a JPEG file, and the offset of the index segment in it."""

    record: bytes
    index_offset: int


def transcode(data: Buffer, target: int = 6) -> Transcoded | Reason:
    """Rewrite a JPEG with a restart marker about every ``target`` MCUs.

    No coefficient changes, so it decodes to the same pixels; all segments and whatever follows EOI
    are kept. The same bytes give the same record, and a record gives itself.

    Args:
        data: a file; sequential, Huffman-coded JPEG of 8 bits a sample in one scan is rewritten.
        target: MCUs between restart markers to aim at; it is rounded to a divisor of an MCU row.

    Returns:
        the record, or why there is none.

    Raises:
        ImportError: numba cannot be imported (see ``available``).
    """
    data = bytes(data)
    try:
        header = parse(data)
        rows, columns = grid(header)
        interval = choose_interval(columns, rows, target)
        scan, lengths, tables, end = recode(data, header, interval)
    except UnfitError as error:
        return error.reason
    index, head = build_head(header, tables, interval, lengths)
    before = b"".join([b"\xff\xd8", *header.before])
    return Transcoded(b"".join([before, index, head, scan.data, data[end:]]), len(before))


def interval_for(height: int, width: int, target: int = 6) -> int:
    """The restart interval of a record of this size with MCUs of 16×16 pixels (4:2:0)."""
    return choose_interval(-(-width // 16), -(-height // 16), target)


def index(data: bytes, target: int = 6) -> Transcoded | None:
    """Make a record of a JPEG whose encoder has set the right restart interval: add the index.

    The scan stays as it is, so there is nothing to compare. The record is the one that
    ``transcode`` makes of the same image encoded without restart markers. Needs no numba.

    Returns:
        the record, or None if the file is not of this kind.
    """
    try:
        header = parse(data)
    except UnfitError:
        return None
    rows, columns = grid(header)
    interval = choose_interval(columns, rows, target)
    lengths = _marked(np.frombuffer(data, np.uint8, offset=header.scan_start))
    if header.interval != interval or len(lengths) != -(-rows * columns // interval):
        return None
    index_segment, head = build_head(header, [], interval, lengths)
    before = b"".join([b"\xff\xd8", *header.before])
    return Transcoded(
        b"".join([before, index_segment, head, data[header.scan_start :]]), len(before)
    )


def _marked(scan: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Lengths of a scan's intervals with their markers, which are RST0, RST1, …, EOI; or none."""
    at = np.flatnonzero(scan[:-1] == 0xFF)
    codes = scan[at + 1]
    at, codes = at[codes != 0], codes[codes != 0]  # 0 is stuffing
    expected = 0xD0 + np.arange(len(codes)) % 8
    expected[-1:] = EOI
    if not np.array_equal(codes, expected) or at[-1:] != len(scan) - 2:
        return np.zeros(0, np.uint32)
    return np.asarray(np.diff(at + 2, prepend=0), np.uint32)


def grid(header: JpegHeader) -> tuple[int, int]:
    """Rows and columns of MCUs."""
    height, width = header.mcu
    return -(-header.height // height), -(-header.width // width)


def recode(
    data: bytes, header: JpegHeader, interval: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint32], list[bytes], int]:
    """Rewrite the scan with another restart interval.

    Returns:
        the scan up to EOI, the lengths of its intervals, DHT segments to add, and the offset in
        ``data`` of what follows EOI.

    Raises:
        UnfitError: the scan is damaged, or not the last one.
    """
    from ._bits import emit, unstuff
    from ._walk import walk

    rows, columns = grid(header)
    mcus = rows * columns
    before = min(header.interval or mcus, mcus)
    n_before, n_after = -(-mcus // before), -(-mcus // interval)
    if 2 * n_before > len(data):  # as many markers would not fit; nor may the arrays below be huge
        raise UnfitError(Reason.DAMAGED)
    bare = np.empty(len(data) - header.scan_start + _PADDING, np.uint8)
    ends = np.empty(n_before, np.int64)
    source = np.frombuffer(data, np.uint8)
    source.flags.writeable = False
    marker, at, found, size = unstuff(source, header.scan_start, bare, ends)
    if marker != EOI or found != n_before:
        reasons = {DNL: Reason.DNL, SOS: Reason.SCANS, DHT: Reason.SCANS}
        raise UnfitError(reasons.get(marker, Reason.DAMAGED))
    bare[size : size + _PADDING] = 0
    codes, extensions = _dc_codes(header)
    n_components = len(header.components)
    spans = np.empty((n_after, 2), np.int64)
    edits = np.empty((n_components * (n_after + n_before) + n_before, 4), np.int64)
    blocks = np.array(header.blocks, np.int64)
    shape = np.array((mcus, before, interval), np.int64)
    n_edits, used = walk(
        bare, ends, shape, header.counts, header.symbols, blocks, codes, spans, edits
    )
    if n_edits < 0:
        raise UnfitError(Reason.DAMAGED if n_edits == -1 else Reason.UNUSUAL)
    out = np.empty(2 * (size + 4 * n_edits + 2 * n_after) + 8, np.uint8)
    lengths = np.empty(n_after, np.uint32)
    length = emit(bare, spans, edits, n_edits, out, lengths)
    tables = [extensions[row] for row in range(4) if used >> row & 1]
    return out[:length], lengths, tables, at + 2


def _dc_codes(header: JpegHeader) -> tuple[NDArray[np.int64], dict[int, bytes]]:
    """Codes of DC categories as ``walk`` takes them, and the DHT segments that would add codes."""
    codes = np.zeros((4, _CATEGORIES), np.int64)
    extensions = {}
    for row in {block[1] for block in header.blocks}:
        counts = header.counts[row].tolist()
        symbols = header.symbols[row, : sum(counts)].tolist()
        code, length = _assign(counts, symbols, codes[row])
        missing = np.flatnonzero(codes[row] == 0).tolist()
        if missing and _extend(counts, missing, code, length, codes[row]):
            extensions[row] = segment(DHT, bytes([row, *counts, *symbols, *missing]))
    return codes, extensions


def _assign(counts: list[int], symbols: list[int], codes: NDArray[np.int64]) -> tuple[int, int]:
    """Fill in a table's codes (T.81 C.2); return the first free one of the longest length."""
    code = at = longest = free = 0
    for length, count in enumerate(counts, 1):
        code *= 2
        for symbol in symbols[at : at + count]:
            if symbol < _CATEGORIES:
                codes[symbol] = code | length << 16
            code += 1
        at += count
        if count:
            free, longest = code, length
    return free, longest


def _extend(
    counts: list[int], missing: list[int], code: int, length: int, codes: NDArray[np.int64]
) -> bool:
    """Give codes to missing categories, from the first free code on; False where none are left.

    A restart can need a category that an image's own, optimised table lacks. Code space is left in
    each table, as the code of only ones is reserved (T.81 C.2): longer codes after the last one
    take the missing categories, and no other code changes.
    """
    while length < 16 and (1 << length) - 1 - code < len(missing):
        code, length = code * 2, length + 1
    if (1 << length) - 1 - code < len(missing) or counts[length - 1] + len(missing) > 255:
        return False
    for i, category in enumerate(missing):
        codes[category] = code + i | length << 16 | _ADDED
    counts[length - 1] += len(missing)
    return True
