"""tools/make_images: its tree, its determinism, and its likeness to photographs."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

TOOL = Path(__file__).parents[2] / "tools" / "make_images"


def run(out: Path, *options: str | int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), str(out), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)


def make(out: Path, *options: str | int) -> list[Path]:
    """Run the tool and return its files, sorted."""
    done = run(out, *options)
    assert done.returncode == 0, done.stderr
    return sorted(path for path in out.rglob("*") if path.is_file())


def tree(out: Path, *options: str | int) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in make(out, *options)}


def frame_header(jpeg: bytes) -> tuple[int, int, int, int, int]:
    """Start-of-frame marker, height, width, components and luma sampling (ITU-T T.81, B.2.2)."""
    at = 2
    while jpeg[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    height, width = (int.from_bytes(jpeg[i : i + 2], "big") for i in (at + 5, at + 7))
    return jpeg[at + 1], height, width, jpeg[at + 9], jpeg[at + 11]


def spectral_slope(grey: np.ndarray) -> float:
    """Exponent k of the power spectrum f^k of a square image, from 4 cycles to 0.4 per pixel."""
    n = len(grey)
    window = np.outer(np.hanning(n), np.hanning(n))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n)))
    edges = np.geomspace(4 / n, 0.4, 9)
    bands = [power[(frequency >= a) & (frequency < b)].mean() for a, b in pairwise(edges)]
    return float(np.polyfit(np.log(edges[1:] * edges[:-1]) / 2, np.log(bands), 1)[0])


@pytest.fixture(scope="module")
def default_mix(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sixty images with the default sizes and qualities."""
    return make(tmp_path_factory.mktemp("mix") / "out", "--count", 60, "--seed", 3)


SMALL = ("--mean-pixels", 6000, "--classes", 3)


def test_same_bytes_for_any_worker_count(tmp_path: Path) -> None:
    alone = tree(tmp_path / "a", *SMALL, "--count", 20, "--workers", 1)
    assert len(alone) == 20
    assert tree(tmp_path / "b", *SMALL, "--count", 20, "--workers", 3) == alone


def test_a_smaller_count_makes_the_same_first_images(tmp_path: Path) -> None:
    many = tree(tmp_path / "a", *SMALL, "--count", 20, "--workers", 1)
    few = tree(tmp_path / "b", *SMALL, "--count", 8, "--workers", 1)
    assert len(few) == 8
    assert few.items() <= many.items()


def test_another_seed_makes_other_images(tmp_path: Path) -> None:
    one = tree(tmp_path / "a", *SMALL, "--count", 6, "--seed", 1, "--workers", 1)
    two = tree(tmp_path / "b", *SMALL, "--count", 6, "--seed", 2, "--workers", 1)
    assert one.keys() == two.keys()
    assert len({*one.values(), *two.values()}) == 12


def test_layout_is_one_folder_per_class_of_equal_size(tmp_path: Path) -> None:
    files = make(tmp_path / "out", "--mean-pixels", 2000, "--classes", 11, "--count", 33)
    folders = Counter(path.parent.relative_to(tmp_path / "out") for path in files)
    assert list(folders.values()) == [3] * 11
    assert [str(f) for f in sorted(folders)] == [f"class{label:02d}" for label in range(11)]
    assert {path.suffix for path in files} == {".jpg"}


def test_flat_puts_the_same_images_into_one_folder(tmp_path: Path) -> None:
    nested = make(tmp_path / "nested", *SMALL, "--count", 6, "--workers", 1)
    flat = make(tmp_path / "flat", *SMALL, "--count", 6, "--workers", 1, "--flat")
    assert {path.parent for path in flat} == {tmp_path / "flat"}
    assert {p.name: p.read_bytes() for p in flat} == {p.name: p.read_bytes() for p in nested}


def test_size_is_height_by_width(tmp_path: Path) -> None:
    files = make(tmp_path / "out", "--size", "48x80", "--count", 10, "--workers", 1)
    assert {cv2.imread(str(path)).shape for path in files} == {(48, 80, 3)}


def test_summary_is_one_line_with_the_count(tmp_path: Path) -> None:
    done = run(tmp_path / "out", "--size", "32x32", "--count", 13, "--workers", 1)
    (line,) = done.stdout.splitlines()
    assert "13 images" in line
    assert "32x32 pixels" in line


def test_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = run(tmp_path, "--count", 10)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_refuses_a_file_as_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("keep")
    assert run(tmp_path / "file", "--count", 10).returncode == 2
    assert (tmp_path / "file").read_text() == "keep"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--count", "9"),  # fewer than the ten classes
        ("--classes", "0"),
        ("--seed", "-1"),
        ("--workers", "0"),
        ("--mean-pixels", "10"),
        ("--size", "400"),
        ("--size", "4x400"),
        ("--quality", "95-70"),
        ("--quality", "101"),
    ],
)
def test_a_bad_value_names_its_option_and_writes_nothing(
    tmp_path: Path, option: str, value: str
) -> None:
    done = run(tmp_path / "out", f"{option}={value}")
    assert done.returncode == 2
    assert f"argument {option}: expected" in done.stderr
    assert value in done.stderr
    assert not (tmp_path / "out").exists()


def test_sizes_are_mixed_as_in_imagenet(default_mix: list[Path]) -> None:
    sizes = [frame_header(path.read_bytes())[1:3] for path in default_mix]
    assert 140_000 < np.mean([h * w for h, w in sizes]) < 260_000
    assert sum(max(size) == 500 for size in sizes) > len(sizes) / 2
    assert sum(w > h for h, w in sizes) > sum(h > w for h, w in sizes) > 0
    assert len(set(sizes)) > 8


def test_mean_pixels_scales_the_mix(tmp_path: Path) -> None:
    files = make(tmp_path / "out", "--mean-pixels", 5000, "--count", 100)
    sizes = [frame_header(path.read_bytes())[1:3] for path in files]
    assert 3500 < np.mean([h * w for h, w in sizes]) < 7000
    assert len(set(sizes)) > 8


def test_files_are_baseline_and_mostly_without_chroma_subsampling(default_mix: list[Path]) -> None:
    headers = [frame_header(path.read_bytes()) for path in default_mix]
    assert {header[0] for header in headers} == {0xC0}
    sampling = Counter(header[4] for header in headers if header[3] == 3)
    assert sampling.keys() == {0x11, 0x22}
    assert 0.55 < sampling[0x11] / sampling.total() < 0.95


def test_bytes_per_pixel_are_those_of_photographs(default_mix: list[Path]) -> None:
    """ImageNet's mean is about 0.55; single photographs lie between 0.1 and 1.2 or so."""
    data = [path.read_bytes() for path in default_mix]
    pixels = [np.prod(frame_header(jpeg)[1:3]) for jpeg in data]
    assert 0.4 < sum(map(len, data)) / sum(pixels) < 0.75
    each = [len(jpeg) / n for jpeg, n in zip(data, pixels, strict=True)]
    assert 0.03 < min(each) < 0.4
    assert 0.7 < max(each) < 2.5


def test_images_compress_far_better_than_noise(default_mix: list[Path]) -> None:
    def bytes_per_pixel(image: np.ndarray) -> float:
        _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
        return 3 * len(coded) / image.size

    noise = bytes_per_pixel(np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8))
    images = [bytes_per_pixel(cv2.imread(str(path))) for path in default_mix]
    assert max(images) < 0.9 * noise
    assert np.mean(images) < 0.5 * noise


def test_power_spectrum_falls_as_in_photographs(default_mix: list[Path]) -> None:
    greys = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in default_mix]
    slopes = [spectral_slope(grey[:256, :256]) for grey in greys if min(grey.shape) >= 256]
    assert len(slopes) > 30
    assert -3.2 < np.mean(slopes) < -1.8
    assert max(slopes) < -0.8


def test_a_nearest_mean_of_hues_tells_the_classes_apart(tmp_path: Path) -> None:
    files = make(tmp_path / "out", "--mean-pixels", 4000, "--count", 240)
    images = [cv2.imread(str(path)) for path in files]
    hsv = [cv2.cvtColor(image, cv2.COLOR_BGR2HSV).reshape(-1, 3) for image in images]
    hues = np.array([np.bincount(x[:, 0] // 6, x[:, 1] / (x[:, 1].sum() + 1), 30) for x in hsv])
    labels = np.array([int(path.parent.name.removeprefix("class")) for path in files])
    train = np.arange(len(files)) % 2 == 0
    means = np.array([hues[train & (labels == k)].mean(axis=0) for k in range(10)])
    distance = np.abs(hues[~train, None] - means).sum(axis=2)
    assert np.mean(distance.argmin(axis=1) == labels[~train]) > 0.7
