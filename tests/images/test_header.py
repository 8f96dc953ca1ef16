"""Image headers: sizes and orientations against OpenCV and Pillow, and what damage does."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from fastdata.errors import DecodeError
from fastdata.images.header import probe, sniff

STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
NAMES = {"PPM": "pnm"}  # Pillow's name in lower case is ours for all others
MODES = {
    "JPEG": "L RGB CMYK",
    "PNG": "1 L LA P RGB RGBA I;16",
    "GIF": "1 L P RGB RGBA",
    "BMP": "1 L P RGB RGBA",
    "WEBP": "L RGB RGBA",
    "TIFF": "1 L LA P RGB RGBA CMYK I;16",
    "PPM": "1 L RGB I;16",
    "AVIF": "L RGB RGBA",
}
OPTIONAL = {"GIF", "AVIF"}  # decoders that not every build of OpenCV has
KINDS = [
    (name, mode)
    for name, modes in MODES.items()
    for mode in modes.split()
    if name != "AVIF" or features.check("avif")
]
FORMATS = sorted({name for name, _ in KINDS})


def make(width: int, height: int, mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3))
    image = Image.fromarray(noise.astype(np.uint8))
    return image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)


def encode(name: str, image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name, **({"speed": 10} if name == "AVIF" else {}), **options)
    return stream.getvalue()


def opencv_size(data: bytes, flags: int = STORED) -> tuple[int, int] | None:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return None if pixels is None else pixels.shape[:2]


def size(data: bytes) -> tuple[int, int]:
    header = probe(data)
    return header.height, header.width


def field(order: str, tag: int, kind: int, value: int) -> bytes:
    """One TIFF field; ``kind`` is 4 for LONG, else a type of two bytes such as 3, SHORT."""
    packed = struct.pack(order + "I", value) if kind == 4 else struct.pack(order + "Hxx", value)
    return struct.pack(order + "HHI", tag, kind, 1) + packed


def directory(order: str, *fields: tuple[int, int, int]) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(order + "IH", 8, len(fields))
    return head + b"".join(field(order, *f) for f in fields) + bytes(4)


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    return directory(order, (274, kind, orientation))


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def tiff(order: str, width: int, height: int, orientation: int, kind: int = 4) -> bytes:
    """An uncompressed RGB TIFF whose size fields have field type ``kind``, with a second width."""
    fields = [(256, kind, width), (256, kind, 99), (257, kind, height), (258, 3, 8)]
    fields += [(259, 3, 1), (262, 3, 2), (273, 4, 146), (274, 3, orientation)]
    fields += [(277, 3, 3), (278, 4, height), (279, 4, 3 * width * height)]
    return directory(order, *fields) + bytes(3 * width * height)


JPEG = encode("JPEG", make(37, 23))
PNG = encode("PNG", make(37, 23))
BMP = encode("BMP", make(37, 23))
VP8 = encode("WEBP", make(37, 23))
SAMPLES = {name: encode(name, make(37, 23)) for name in FORMATS}
SAMPLES["WEBP lossless"] = encode("WEBP", make(37, 23), lossless=True)
SAMPLES["WEBP EXIF"] = encode("WEBP", make(37, 23), exif=exif(6))
SAMPLES["JPEG EXIF"] = encode("JPEG", make(37, 23), exif=b"Exif\0\0" + exif(6))
SAMPLES["PNG EXIF"] = encode("PNG", make(37, 23), exif=exif(6))
SAMPLES["PAM"] = b"P7\nWIDTH 37\nHEIGHT 23\nDEPTH 1\nMAXVAL 255\nENDHDR\n" + bytes(37 * 23)
SAMPLES["TIFF turned"] = tiff(">", 37, 23, 6)


class TestSize:
    @settings(max_examples=150)
    @given(st.sampled_from(KINDS), st.integers(1, 300), st.integers(1, 300))
    def test_equals_what_opencv_and_pillow_decode(self, kind, width, height):
        name, mode = kind
        data = encode(name, make(width, height, mode))
        header = probe(data)
        assert (header.format, header.orientation) == (NAMES.get(name, name.lower()), 1)
        assert Image.open(io.BytesIO(data)).size == (header.width, header.height)
        decoded = opencv_size(data)
        assert decoded == size(data) or (decoded is None and name in OPTIONAL)

    @pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tiff", "ppm", "pgm", "pam"])
    @pytest.mark.parametrize("shape", [(1, 1), (3, 300), (129, 5)])
    def test_of_images_that_opencv_wrote(self, suffix, shape):
        pixels = np.zeros(shape if suffix == "pgm" else (*shape, 3), np.uint8)
        written, data = cv2.imencode(f".{suffix}", pixels)
        assert written
        assert size(data.tobytes()) == shape

    @pytest.mark.parametrize(
        "options",
        [
            {"progressive": True},
            {"restart_marker_blocks": 1, "subsampling": 2},
            {"icc_profile": bytes(200_000)},
            {"comment": b"\xff\xd8\xff\xc0\0\x11\x08\0\1\0\1", "optimize": True},
        ],
        ids=str,
    )
    def test_of_jpeg_variants(self, options):
        data = encode("JPEG", make(200, 301), **options)
        assert size(data) == opencv_size(data) == (301, 200)

    @pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": exif(3)}], ids=str)
    def test_of_webp_variants(self, options):
        data = encode("WEBP", make(259, 301), **options)
        assert size(data) == opencv_size(data) == (301, 259)

    @pytest.mark.parametrize("extra", [b"\xff" * 9, b"stray", b"\xff\0", b"\xff\xd3", b"\xff\x01"])
    def test_of_a_jpeg_with_bytes_between_segments(self, extra):
        data = JPEG[:20] + extra + JPEG[20:]
        assert size(data) == opencv_size(data) == (23, 37)

    @pytest.mark.parametrize("name", sorted({"GIF", "PNG", "WEBP", "AVIF"} & set(FORMATS)))
    def test_of_an_animation_is_its_canvas(self, name):
        frames = [make(37, 23), Image.new("RGB", (37, 23))]
        data = encode(name, frames[0], save_all=True, append_images=frames[1:])
        assert size(data) == (23, 37)
        assert opencv_size(data) in {(23, 37), None if name in OPTIONAL else (23, 37)}

    @pytest.mark.parametrize(
        "head",
        [
            "P6 {w} {h} 255\n",
            "P6\n# a comment 7 9\n{w}\n#\n# another\n\t{h}\n255\n",
            "P6\r\n{w}\r\n{h}\r\n255\n",
            "P7\n#WIDTH 9\nHEIGHT {h}\nWIDTH  {w}\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n",
        ],
    )
    def test_of_pnm_with_comments_and_any_white_space(self, head):
        data = head.format(w=37, h=23).encode() + bytes(37 * 23 * 3)
        assert size(data) == opencv_size(data) == (23, 37)

    def test_of_bmp_from_the_top_and_of_the_oldest_header(self):
        down = BMP[:22] + struct.pack("<i", -23) + BMP[26:]
        rows = bytes(112 * 23)
        core = struct.pack("<IHHHH", 12, 37, 23, 1, 24)
        old = b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26) + core + rows
        for bmp in (down, old):
            assert size(bmp) == opencv_size(bmp) == (23, 37)

    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("kind", [3, 4])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_of_tiff_is_that_of_the_upright_image(self, order, kind, orientation):
        data = tiff(order, 37, 23, orientation, kind)
        assert size(data) == opencv_size(data) == ((23, 37) if orientation < 5 else (37, 23))
        assert probe(data).orientation == 1

    @pytest.mark.parametrize("version", [0, 1])
    @pytest.mark.parametrize("wide", [0, 1])
    def test_of_avif_is_that_of_the_primary_item(self, version, wide):
        """Of three items, each of its own size, the second is primary."""
        number, index = ">I" if version else ">H", ">H" if wide else ">B"
        essential = 0x8000 if wide else 0x80

        def links(item: int, *properties: int) -> bytes:
            packed = b"".join(struct.pack(index, p) for p in properties)
            return struct.pack(number, item) + bytes([len(properties)]) + packed

        sizes = [box(b"ispe", bytes(4), struct.pack(">II", w, w + 1)) for w in (10, 20, 30)]
        entries = links(1, 2) + links(2, 0, 1 | essential, 3) + links(3, 4)
        meta = box(
            b"meta",
            bytes(4),
            box(b"pitm", bytes([version, 0, 0, 0]), struct.pack(number, 2)),
            box(
                b"iprp",
                box(b"ipco", box(b"pixi", bytes(8)), *sizes),
                box(b"ipma", bytes([version, 0, 0, wide]), struct.pack(">I", 3), entries),
            ),
        )
        for brands in (b"avif\0\0\0\0mif1", b"mif1\0\0\0\0heixavif", b"avis\0\0\0\0"):
            assert size(box(b"ftyp", brands) + box(b"free", bytes(9)) + meta) == (21, 20)


def with_exif(container: str, body: bytes) -> bytes:
    if container == "JPEG":
        return JPEG[:20] + segment(0xE1, b"Exif\0\0" + body) + JPEG[20:]
    if container == "PNG":
        return PNG[:33] + chunk(b"eXIf", body) + PNG[33:]
    return encode("WEBP", make(37, 23), exif=body, lossless=container.endswith("lossless"))


INVALID_EXIF = {
    "0": exif(0),
    "9": exif(9),
    "text": exif(6, kind=2),
    "two values": exif(6)[:14] + b"\2" + exif(6)[15:],
    "cut": exif(6)[:15],
    "two bytes": b"II",
    "BigTIFF": b"II+\0" + exif(6)[4:],
    "noise": b"?" * 30,
}


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP", "WEBP lossless"])
class TestOrientation:
    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("kind", [3, 4])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_equals_pillow_and_leaves_the_size_alone(self, container, order, kind, orientation):
        data = with_exif(container, exif(orientation, order, kind))
        assert probe(data).orientation == orientation
        assert Image.open(io.BytesIO(data)).getexif()[274] == orientation
        assert size(data) == opencv_size(data) == (23, 37)

    @pytest.mark.parametrize("body", INVALID_EXIF.values(), ids=INVALID_EXIF)
    def test_that_is_invalid_is_upright(self, container, body):
        assert probe(with_exif(container, body)).orientation == 1

    def test_with_a_second_prefix_equals_pillow(self, container):
        data = with_exif(container, exif(6) if container == "JPEG" else b"Exif\0\0" + exif(6))
        assert probe(data).orientation == Image.open(io.BytesIO(data)).getexif()[274] == 6


class TestOrientationPlaces:
    def test_jpeg_takes_the_first_exif_segment_whatever_is_around_it(self):
        first, second = (segment(0xE1, b"Exif\0\0" + exif(o)) for o in (6, 3))
        xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
        scan = JPEG.index(b"\xff\xda")
        for data in (JPEG[:2] + xmp + first + second + JPEG[2:], JPEG[:scan] + first + JPEG[scan:]):
            assert probe(data).orientation == 6
            assert opencv_size(data, cv2.IMREAD_COLOR_RGB) == (37, 23)

    def test_png_takes_it_after_the_pixels_and_checks_its_sum(self):
        whole, end = chunk(b"eXIf", exif(6)), len(PNG) - 12
        assert probe(PNG[:end] + whole + PNG[end:]).orientation == 6
        broken = whole[:-1] + bytes([whole[-1] ^ 1])
        assert probe(PNG[:33] + broken + PNG[33:]).orientation == 1

    def test_webp_wants_it_announced(self):
        data = bytearray(SAMPLES["WEBP EXIF"])
        assert probe(bytes(data)).orientation == 6
        data[20] &= ~8
        assert probe(bytes(data)).orientation == 1

    def test_webp_chunks_are_padded_to_even_sizes(self):
        data = SAMPLES["WEBP EXIF"]
        body = data[8:30] + b"ABCD\3\0\0\0odd\0" + data[30:]
        assert probe(b"RIFF" + struct.pack("<I", len(body)) + body).orientation == 6

    @pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
    def test_avif_is_reported_as_stored(self):
        data = encode("AVIF", make(37, 23), exif=exif(6))  # Pillow writes irot for it
        assert (size(data), probe(data).orientation) == ((23, 37), 1)
        assert opencv_size(data) in {(23, 37), None}


def outcome(data: bytes) -> tuple[int, ...]:
    """Height, width and orientation, within their limits, or nothing after a ``DecodeError``."""
    try:
        header = probe(data)
    except DecodeError:
        return ()
    assert header.format == sniff(data)
    assert 1 <= header.orientation <= 8
    assert min(header.height, header.width) >= 1
    assert header.height * header.width <= 1 << 30
    return header.height, header.width, header.orientation


class TestDamage:
    @pytest.mark.parametrize("sample", SAMPLES)
    def test_a_truncated_image_gives_its_size_or_an_error(self, sample):
        data, whole = SAMPLES[sample], size(SAMPLES[sample])
        for cut in range(min(len(data), 1200)):
            assert outcome(data[:cut])[:2] in (whole, ())

    @pytest.mark.parametrize("sample", ["PNG", "PNG EXIF", "WEBP", "WEBP lossless", "WEBP EXIF"])
    def test_no_truncated_png_or_webp_passes(self, sample):
        for cut in range(len(SAMPLES[sample])):
            with pytest.raises(DecodeError):
                probe(SAMPLES[sample][:cut])

    @settings(max_examples=1000)
    @given(st.data())
    def test_changed_bytes_give_a_sane_header_or_an_error(self, data):
        image = bytearray(data.draw(st.sampled_from(sorted(SAMPLES.values()))))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, min(len(image), 400)))
            old = data.draw(st.sampled_from([0, 1, 1, 1, 4]))
            image[at : at + old] = data.draw(st.binary(max_size=4))
        outcome(bytes(image))

    @settings(max_examples=500)
    @given(st.sampled_from(sorted(SAMPLES)), st.sampled_from([12, 30, 60]), st.binary(max_size=99))
    def test_noise_after_a_real_beginning_does_so_too(self, sample, kept, noise):
        outcome(SAMPLES[sample][:kept] + noise)

    def test_no_bit_of_a_png_header_may_flip(self):
        for bit in range(8 * 8, 33 * 8):
            data = bytearray(PNG)
            data[bit // 8] ^= 1 << bit % 8
            with pytest.raises(DecodeError, match="IHDR"):
                probe(bytes(data))

    @pytest.mark.parametrize(
        "data",
        [
            b"\xff\xd8\xff" + b"\xff\0" * 1_000_000,
            b"\xff\xd8" + b"\xff\xe0\0\x02" * 500_000,
            PNG[:33] + chunk(b"eXIf", b"") * 200_000,
            box(b"ftyp", b"avif") + box(b"free") * 300_000,
            b"P6 " + b"#\n" * 1_000_000,
            b"P7\n" + b"WIDTH 3\n" * 300_000,
        ],
        ids=["stray", "segments", "chunks", "boxes", "comments", "fields"],
    )
    def test_two_megabytes_of_nothing_end_soon(self, data):
        with pytest.raises(DecodeError):  # anything quadratic would meet the hang timeout
            probe(data)


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(9)


FRAME = JPEG.index(b"\xff\xc0")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"image: expected .*jpeg.* at byte 0, found b''"),
        (b"<html><body>", r"image: .* found b'<html><body>'"),
        (JPEG[:FRAME] + JPEG[FRAME + 19 :], r"JPEG: expected one frame header.*0xDA"),
        (JPEG[: FRAME + 19] + JPEG[FRAME:], r"JPEG: expected one frame header.*0xC0"),
        (JPEG[:FRAME] + b"\xff\xd9" + JPEG[FRAME:], r"JPEG: expected a whole segment .*0xD9"),
        (JPEG[:FRAME] + b"\xff\xd9\0\2" + JPEG[FRAME:], rf"at byte {FRAME}, found marker 0xD9"),
        (JPEG[: FRAME + 5] + b"\0\0" + JPEG[FRAME + 7 :], rf"byte {FRAME + 5}, found 0.*DNL"),
        (JPEG[:4] + b"\0\1" + JPEG[6:], r"whole segment 0xE0 at byte 4, found a length of 1"),
        (JPEG[:FRAME] + segment(0xC0, b"\x08\0\x17") + JPEG[FRAME:], r"JPEG: expected 4 bytes"),
        (JPEG[:100], r"JPEG: expected a whole segment 0xDB"),
        (gif(0, 5), r"GIF: expected sides of 1 .* at byte 6, found 5 high, 0 wide"),
        (BMP[:18] + b"\xff\xff\xff\x7f" + BMP[22:], r"BMP: .* found 23 high, 2147483647 wide"),
        (BMP[:14] + b"\x10" + BMP[15:], r"BMP: .* at byte 14, found 16"),
        (b"II+\0" + bytes(20), r"BigTIFF is not read\) at byte 0, found b'II\+"),
        (tiff("<", 1 << 15, 0, 1)[:200], r"TIFF: .* found 0 high, 32768 wide"),
        (b"P6\n2000000 5\n255\n", r"PNM: .* found 5 high, 2000000 wide"),
        (b"P5\nwide 5\n255\n", r"PNM: expected a width .* at byte 2, found b'\\nwide"),
        (box(b"ftyp", b"avif\0\0\0\0") + box(b"free"), r"AVIF: expected a box b'meta' at byte 0"),
        (box(b"ftyp", b"avif") + b"\0\0\0\3meta", r"AVIF: .*chunk .* at byte 12, found b'meta' of"),
        (b"P7\nHEIGHT 5\nENDHDR\nWIDTH 5\n", r"PNM: expected a width"),
        (VP8[:23] + b"?" + VP8[24:], r"WebP: expected a VP8"),
        (b"RIFF\x1e\0\0\0WEBPALPH" + bytes(24), r"WebP: expected a VP8, .* found b'ALPH"),
        (VP8[:-2], r"WebP: expected the size .* at byte 4, found"),
        (PNG[:-12], r"PNG: expected an IEND chunk"),
    ],
)
def test_an_error_says_what_was_expected_where_and_what_was_found(data, message):
    with pytest.raises(DecodeError, match=message):
        probe(data)


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_first_bytes_name_the_format(sample):
    assert sniff(SAMPLES[sample][:32]) == probe(SAMPLES[sample]).format


@pytest.mark.parametrize("data", [b"", b"P8\n", b"\xff\xd8", b"RIFF....WAVE", b"BA", b"\x89PNG"])
def test_other_bytes_name_no_format(data):
    assert sniff(data) is None


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_view_of_a_larger_buffer_reads_the_same_and_is_not_kept(sample):
    data = SAMPLES[sample]
    buffer = bytearray(b"before" + data)
    with memoryview(buffer) as view:
        assert probe(view[6:]) == probe(data)
    buffer.append(0)  # a buffer that is still viewed refuses to grow
