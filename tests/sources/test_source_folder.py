"""Listing image folders: torchvision's order and classes, links, and everything that is odd."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from contracts.source_contract import SourceContract
from helpers.images import write_tree
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fastdata import ImageFolder
from fastdata.core.files import read_file
from fastdata.errors import EmptySourceError, SourceError, SourceNotFoundError
from fastdata.sources import EXTENSIONS, Source, list_image_folder, samples_of
from fastdata.sources.folder.source import list_flat, list_folder

# The list in torchvision.datasets.folder, and the one that fastdata adds.
TORCHVISION = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
KNOWN = (*TORCHVISION, ".avif")

# Names around the edges of sorting: "-" and "." sort before "/", capitals before small letters.
NAMES = st.sampled_from(
    ["a", "b", "B", "a-b", "a.b", "a b", "10", "9", "é", "e\u0301", "日本", "🎈"]
)
FILES = st.builds(
    str.__add__, NAMES, st.sampled_from([*KNOWN, ".JPG", ".Png", ".txt", "", ".jpg.txt", ".gif"])
)
PATHS = st.builds(
    lambda folders, file: "/".join([*folders, file]),
    st.lists(NAMES, min_size=1, max_size=3),
    FILES,
)


def touch(root: Path, *keys: str) -> Path:
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).touch()
    return root


def walked(root: Path, start: Path) -> list[str]:
    """Files with a known extension below ``start``, by torchvision's documented rule."""
    return [
        Path(directory, file).relative_to(root).as_posix()
        for directory, _, files in sorted(os.walk(start, followlinks=True))
        for file in sorted(files)
        if file.lower().endswith(KNOWN)
    ]


def image_folder(root: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """What ``torchvision.datasets.ImageFolder`` documents as its classes and samples."""
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    samples = [(key, i) for i, name in enumerate(classes) for key in walked(root, root / name)]
    return classes, samples


def found(listing: Source) -> list[tuple[str, int]]:
    return [(item.key, item.values["target"]) for item in listing]


class TestContract(SourceContract):
    def write(self, root: Path) -> None:
        write_tree(root, classes=3, per_class=2)

    def listing(self, root: Path) -> Source:
        return list_image_folder(root, allow_empty=True)

    def change(self, root: Path) -> None:
        (root / "an empty class").mkdir()


class TestFlatContract(SourceContract):
    def write(self, root: Path) -> None:
        write_tree(root / "photos", classes=2, per_class=2)

    def listing(self, root: Path) -> Source:
        return list_image_folder(root, flat=True)

    def test_the_digest_sees_what_changes_besides_the_images(
        self, source: Source, made: Path
    ) -> None:
        """Nothing else can change; but with classes the same files are another source."""
        other = list_image_folder(made)
        assert list(other.keys) == list(source.keys)
        assert other.digest() != source.digest()


class Dataset:
    """Looks like torchvision's ``ImageFolder``."""

    loader = None

    def __init__(self, root: Path, classes: list[str]) -> None:
        self.root, self.classes = str(root), classes
        self.samples = [(str(path), i // 2) for i, path in enumerate(sorted(root.glob("*/*")))]


class TestDatasetContract(SourceContract):
    def write(self, root: Path) -> None:
        write_tree(root / "photos", classes=1, per_class=5)
        (root / "classes").write_text("a b c")

    def listing(self, root: Path) -> Source:
        names = (root / "classes").read_text().split()
        source = samples_of(Dataset(root / "photos", names)).listing
        assert source is not None
        return source

    def change(self, root: Path) -> None:
        (root / "classes").write_text("a b d")


def test_a_dataset_does_not_ask_for_sizes_and_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network file system that takes as long as listing; packing asks at once."""
    write_tree(tmp_path, classes=2, per_class=2)
    asked: list[str] = []
    stat = os.stat

    def counted(path: str, **options: bool) -> os.stat_result:
        asked.append(str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", counted)
    ImageFolder(tmp_path)
    assert not [path for path in asked if path.endswith(KNOWN)]
    list_image_folder(tmp_path)
    assert len([path for path in asked if path.endswith(KNOWN)]) == 4


def can_be_a_directory(paths: list[str]) -> bool:
    """No path is a directory of another one."""
    folders = {"/".join(p.split("/")[:i]) for p in paths for i in range(1, p.count("/") + 1)}
    return folders.isdisjoint(paths)


def test_extensions_are_torchvisions_and_avif() -> None:
    assert sorted(EXTENSIONS) == sorted(KNOWN)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(paths=st.lists(PATHS, min_size=1, max_size=12))
def test_order_and_classes_are_torchvisions(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str]
) -> None:
    assume(can_be_a_directory(paths))
    root = touch(tmp_path_factory.mktemp("tree"), *paths)
    classes, samples = image_folder(root)
    assume(samples)
    listing = list_folder(root, allow_empty=True)
    assert listing.classes == classes
    assert found(listing) == samples
    assert [key for key, _ in found(list_flat(root))] == walked(root, root)


def test_flat_has_no_targets(tmp_path: Path) -> None:
    listing = list_flat(touch(tmp_path, "b.png", "a/c.jpg", "a.jpg"))
    assert found(listing) == [("a.jpg", -1), ("b.png", -1), ("a/c.jpg", -1)]
    assert listing.classes == []


def test_a_file_named_like_its_extension_is_an_image(tmp_path: Path) -> None:
    assert found(list_folder(touch(tmp_path, "c/.jpg"))) == [("c/.jpg", 0)]


class TestLinks:
    def test_files_and_directories_are_followed(self, tmp_path: Path) -> None:
        touch(tmp_path, "away/deep/1.jpg", "other.jpg")
        root = touch(tmp_path / "root", "c/0.jpg")
        (root / "c" / "dir").symlink_to(tmp_path / "away")
        (root / "c" / "file.jpg").symlink_to(tmp_path / "other.jpg")
        (root / "linked class").symlink_to(tmp_path / "away")
        classes, samples = image_folder(root)
        assert classes == ["c", "linked class"]
        assert len(samples) == 4
        assert found(list_folder(root)) == samples

    def test_one_directory_linked_twice_counts_twice(self, tmp_path: Path) -> None:
        touch(tmp_path, "away/1.jpg")
        root = touch(tmp_path / "root", "c/0.jpg")
        (root / "c" / "first").symlink_to(tmp_path / "away")
        (root / "c" / "second").symlink_to(tmp_path / "away")
        assert [key for key, _ in found(list_folder(root))] == [
            "c/0.jpg", "c/first/1.jpg", "c/second/1.jpg",
        ]  # fmt: skip

    @pytest.mark.parametrize("to", [".", "..", "../..", "../../c/deep"])
    def test_loops_are_not_followed(self, tmp_path: Path, to: str) -> None:
        root = touch(tmp_path / "root", "c/0.jpg", "c/deep/1.jpg", "d/2.jpg")
        (root / "c" / "deep" / "up").symlink_to(to)
        listing = list_folder(root)
        assert found(listing) == [("c/0.jpg", 0), ("c/deep/1.jpg", 0), ("d/2.jpg", 1)]
        assert [note for note in listing.findings.notes if "c/deep/up" in note] != []
        assert [key for key, _ in found(list_flat(root))] == [key for key, _ in found(listing)]

    def test_two_directories_that_contain_each_other(self, tmp_path: Path) -> None:
        root = touch(tmp_path / "root", "a/1.jpg", "b/2.jpg")
        (root / "a" / "to").symlink_to("../b")
        (root / "b" / "to").symlink_to("../a")
        assert found(list_folder(root)) == [
            ("a/1.jpg", 0), ("a/to/2.jpg", 0), ("b/2.jpg", 1), ("b/to/1.jpg", 1),
        ]  # fmt: skip

    def test_a_link_to_itself_is_no_class(self, tmp_path: Path) -> None:
        root = touch(tmp_path / "root", "a/1.jpg")
        (root / "self").symlink_to("self")
        (root / "a" / "self").symlink_to("self")
        listing = list_folder(root)
        assert listing.classes == ["a"]
        assert found(listing) == [("a/1.jpg", 0)]

    def test_a_broken_link_to_an_image_is_listed_so_that_it_gets_reported(
        self, tmp_path: Path
    ) -> None:
        root = touch(tmp_path, "c/1.jpg")
        (root / "c" / "2.jpg").symlink_to("nowhere.jpg")
        assert found(list_folder(root)) == [("c/1.jpg", 0), ("c/2.jpg", 0)]
        with pytest.raises(OSError, match="a link to nothing"):
            read_file(root / "c" / "2.jpg")


class TestEmpty:
    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SourceNotFoundError, match=r"nowhere does not exist"):
            list_folder(tmp_path / "nowhere")

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg")
        with pytest.raises(SourceNotFoundError, match=r"a\.jpg is not a directory"):
            list_flat(tmp_path / "a.jpg")

    def test_nothing_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(EmptySourceError, match=r"no class directories.*--flat"):
            list_folder(tmp_path)
        with pytest.raises(EmptySourceError, match=r"has no images.*\.jpg"):
            list_flat(tmp_path)

    def test_images_without_class_directories(self, tmp_path: Path) -> None:
        with pytest.raises(EmptySourceError, match=r"no class directories.*--flat"):
            list_folder(touch(tmp_path, "a.jpg"))

    def test_classes_without_any_image(self, tmp_path: Path) -> None:
        touch(tmp_path, "a/readme.txt", "b/readme.txt")
        for allow_empty in (False, True):
            with pytest.raises(EmptySourceError, match=r"no images below its 2 class"):
                list_folder(tmp_path, allow_empty=allow_empty)

    def test_one_empty_class_is_named(self, tmp_path: Path) -> None:
        touch(tmp_path, "a/1.jpg", "the empty one/readme.txt", "z/1.jpg")
        with pytest.raises(EmptySourceError, match=r"1 of 3.*'the empty one'.*--allow-empty"):
            list_folder(tmp_path)
        listing = list_folder(tmp_path, allow_empty=True)
        assert listing.classes == ["a", "the empty one", "z"]
        assert found(listing) == [("a/1.jpg", 0), ("z/1.jpg", 2)]

    def test_many_empty_classes_do_not_flood_the_message(self, tmp_path: Path) -> None:
        touch(tmp_path, "a/1.jpg")
        for i in range(100):
            (tmp_path / f"empty{i:02d}").mkdir()
        with pytest.raises(EmptySourceError, match=r"100 of 101.*'empty09' and 90 more"):
            list_folder(tmp_path)


class TestFindings:
    def test_other_files_are_counted_by_extension(self, tmp_path: Path) -> None:
        touch(tmp_path, "c/1.jpg", "c/a.txt", "c/d/B.TXT", "c/Makefile", "c/x.tar.gz")
        assert list_folder(tmp_path).findings.ignored == {".txt": 2, "(none)": 1, ".gz": 1}

    def test_a_directory_called_like_an_image(self, tmp_path: Path) -> None:
        listing = list_folder(touch(tmp_path, "c/x.jpg/1.png", "c/2.png"))
        assert found(listing) == [("c/2.png", 0), ("c/x.jpg/1.png", 0)]
        assert [note for note in listing.findings.notes if "c/x.jpg: a directory" in note] != []

    def test_images_beside_the_classes_are_mentioned(self, tmp_path: Path) -> None:
        listing = list_folder(touch(tmp_path, "c/1.jpg", "stray.jpg", "b.png", "readme.txt"))
        assert found(listing) == [("c/1.jpg", 0)]
        assert [note for note in listing.findings.notes if note.endswith("without a class: 2")]

    def test_an_ordinary_folder_has_nothing_to_say(self, tmp_path: Path) -> None:
        findings = list_folder(touch(tmp_path, "c/1.jpg", "d/2.jpg")).findings
        assert (findings.notes, findings.rejected, findings.ignored) == ([], [], {})

    def test_very_deep_directories(self, tmp_path: Path) -> None:
        deep = "c/" + "d/" * 1500
        os.makedirs(tmp_path / "c")
        home = os.open(".", os.O_RDONLY)  # the path is too long to be made in one go
        try:
            os.chdir(tmp_path / "c")
            for _ in range(1500):
                os.mkdir("d")
                os.chdir("d")
            Path("1.jpg").touch()
            os.fchdir(home)
            assert found(list_folder(tmp_path)) == [(deep + "1.jpg", 0)]
        finally:
            os.fchdir(home)
            os.close(home)
            # pytest removes old folders by recursion, and would fail a later session on this one.
            (tmp_path / deep / "1.jpg").unlink(missing_ok=True)
            for level in range(1500, 0, -1):
                os.rmdir(tmp_path / ("c/" + "d/" * level))

    @pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are Unicode")
    def test_names_that_are_not_utf8(self, tmp_path: Path) -> None:
        touch(tmp_path, "c/1.jpg", "c/sub/2.jpg")
        base = os.fsencode(tmp_path)
        for name in (b"c/\xff.jpg", b"c/note.\xfe", b"c/sub/\xe9t\xe9.png"):
            Path(os.fsdecode(base + b"/" + name)).touch()
        Path(os.fsdecode(base + b"/c/dir\xfd")).mkdir()
        listing = list_folder(tmp_path)
        assert found(listing) == [("c/1.jpg", 0), ("c/sub/2.jpg", 0)]
        reason = "the name is not valid UTF-8"
        assert sorted(listing.findings.rejected) == [
            (r"c/\xff.jpg", reason), (r"c/dir\xfd", reason), (r"c/sub/\xe9t\xe9.png", reason),
        ]  # fmt: skip
        assert listing.findings.ignored == {r".\xfe": 1}

    @pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are Unicode")
    def test_a_class_that_is_not_utf8(self, tmp_path: Path) -> None:
        touch(tmp_path, "c/1.jpg")
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).mkdir()
        with pytest.raises(SourceError, match=r"class name caf\\xe9 is not valid UTF-8"):
            list_folder(tmp_path)

    def test_a_directory_that_may_not_be_read(self, tmp_path: Path) -> None:
        closed = touch(tmp_path, "c/1.jpg", "c/closed/2.jpg") / "c" / "closed"
        closed.chmod(0)
        try:
            if os.access(closed, os.R_OK):
                pytest.skip("this user may read everything")
            with pytest.raises(SourceError, match=r"cannot list .*closed: Permission denied"):
                list_folder(tmp_path)
        finally:
            closed.chmod(0o700)


class TestReadFile:
    def test_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"\0\1\2")
        assert read_file(tmp_path / "a") == b"\0\1\2"

    def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="a directory"):
            read_file(tmp_path)

    def test_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="no such file"):
            read_file(tmp_path / "nothing")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_named_pipe_does_not_hang(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(OSError, match="not a regular file"):
            read_file(tmp_path / "pipe.jpg")
