"""A new encoding is an object in one table; nothing hangs on the name of an old one."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.command import run
from helpers.images import contents, encoded, picture, write_tree
from numpy.typing import NDArray

import fastdata
from fastdata import transforms as T
from fastdata.errors import OptionError, PackFormatError
from fastdata.images import ENCODINGS, EncodeSettings, Encoding, StoredMedia
from fastdata.images.decode import decode_whole
from fastdata.inspection.info import pack_info
from fastdata.packing import plan_pack
from fastdata.sources import PackSource, open_source
from fastdata.store import PackReader


def to_bmp(image: NDArray[np.uint8], quality: int | None, spare: bool) -> StoredMedia:
    """Compress with what the quality allows: colours of fewer bits."""
    coarse = image >> 4 << 4 if quality is not None and quality < 50 else image
    _, data = cv2.imencode(".bmp", cv2.cvtColor(coarse, cv2.COLOR_RGB2BGR))
    return StoredMedia(data.tobytes(), *image.shape[:2])


BMP = Encoding(name="bmp", from_pixels=to_bmp, quality=75, suffixes=(".bmp",))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "photos", classes=2, per_class=4)


class TestBmp:
    @pytest.fixture(autouse=True)
    def _is_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(ENCODINGS, "bmp", BMP)

    @pytest.fixture
    def packed(self, photos: Path, tmp_path: Path) -> Path:
        fastdata.pack_image_folder(photos, tmp_path / "p", encoding="bmp", quiet=True)
        return tmp_path / "p"

    def test_it_is_packed_and_read(self, packed: Path, photos: Path) -> None:
        assert pack_info(packed).encoding == {"name": "bmp", "quality": 75}
        assert pack_info(packed).verbatim == 0
        dataset = fastdata.PackedImageFolder(packed)
        for index, key in enumerate(dataset.keys):
            expected = decode_whole((photos / key).read_bytes())
            np.testing.assert_array_equal(np.asarray(dataset[index][0]), expected)

    def test_it_is_verified(self, packed: Path) -> None:
        assert fastdata.verify_pack(packed, deep=True, quiet=True).problems == []

    def test_it_is_unpacked(self, packed: Path, photos: Path, tmp_path: Path) -> None:
        fastdata.unpack(packed, tmp_path / "out", quiet=True)
        found, before = contents(tmp_path / "out"), contents(photos)
        assert {name.removesuffix(".bmp") for name in found} == {
            name.removesuffix(".bmp") for name in before
        }
        assert all(data.startswith(b"BM") for data in found.values())

    def test_its_options_are_checked(self) -> None:
        assert EncodeSettings("bmp", quality=10, max_side=9).describe()["quality"] == 10
        with pytest.raises(OptionError, match="'bmp' has to: choose encoding keep"):
            EncodeSettings("bmp", check="header")
        with pytest.raises(OptionError, match=r"choose encoding jpeg, png, raw or bmp"):
            EncodeSettings("keep", max_side=9)
        with pytest.raises(OptionError, match="encoding 'jpeg or bmp' only, not to 'png'"):
            EncodeSettings("png", quality=9)

    def test_images_are_converted_and_shrunk(self, packed: Path, tmp_path: Path) -> None:
        png, again = tmp_path / "png", tmp_path / "again"
        fastdata.convert(packed, png, encoding="png", quiet=True)
        fastdata.convert(png, again, encoding="bmp", quality=10, max_side=30, quiet=True)
        image = np.asarray(fastdata.PackedImageFolder(again)[0][0])
        assert max(image.shape) == 30
        assert not (image & 15).any()

    def test_the_command_offers_it(self, photos: Path, tmp_path: Path) -> None:
        assert run("pack", photos, tmp_path / "p", "--encoding", "bmp", "--quiet") == 0
        assert pack_info(tmp_path / "p").encoding["name"] == "bmp"

    def test_a_dry_run_tells_its_size(self, photos: Path) -> None:
        plan = plan_pack(open_source(photos))
        assert plan.sizes["bmp"].value > plan.sizes["png"].value
        assert {"bmp, resize_short 256", "jpeg, resize_short 256"} <= plan.sizes.keys()

    def test_a_library_without_it_says_so(
        self, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(ENCODINGS, "bmp")
        for read in (
            fastdata.PackedImageFolder,
            lambda path: fastdata.unpack(path, tmp_path / "out", quiet=True),
            lambda path: fastdata.convert(path, tmp_path / "q", quiet=True),
        ):
            with pytest.raises(PackFormatError, match=r"unknown encoding .*upgrade fastdata"):
                read(packed)
        found = fastdata.verify_pack(packed, deep=True, quiet=True)
        assert "unknown encoding 'bmp'; upgrade fastdata" in found.problems[0]
        assert pack_info(packed).verbatim == 0


@pytest.mark.parametrize("name", list(ENCODINGS))
def test_another_name_changes_nothing(
    name: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of an encoding packs, reads, verifies and unpacks to the same bytes and pixels."""
    monkeypatch.setitem(ENCODINGS, "other", replace(ENCODINGS[name], name="other"))
    found: list[dict[str, Any]] = []
    for encoding in (name, "other"):
        pack, out, again = (tmp_path / f"{encoding} {what}" for what in ("p", "out", "again"))
        fastdata.pack_image_folder(photos, pack, encoding=encoding, quiet=True)
        assert fastdata.verify_pack(pack, deep=True, quiet=True).problems == []
        fastdata.unpack(pack, out, quiet=True)
        fastdata.convert(pack, again, encoding="png", quiet=True)
        dataset = fastdata.PackedImageFolder(pack, T.CenterCrop(16))
        plan = plan_pack(open_source(photos), encoding=encoding)
        found.append(
            {
                "files": {k: v for k, v in contents(pack).items() if k != "pack.json"},
                "unpacked": contents(out),
                "converted": {k: v for k, v in contents(again).items() if k.startswith("shard")},
                "pixels": [np.asarray(dataset[i][0]).tobytes() for i in range(len(dataset))],
                "info": asdict(pack_info(pack)) | {"path": "", "encoding": "", "total_bytes": 0},
                "size": plan.sizes[encoding],
                "shards": plan.shards,
            }
        )
    assert found[0] == found[1]


@pytest.mark.parametrize(("encoding", "format_"), [("raw", "pixels"), ("keep", "jpeg")])
def test_a_plan_takes_the_records_of_a_pack_for_what_they_are(
    encoding: str, format_: str, tmp_path: Path
) -> None:
    """Neither pixels for a file, nor a file that has as many bytes for pixels."""
    file = encoded(picture(32, 32)).ljust(32 * 32 * 3, b"\0")
    fastdata.pack([{"image": file}], tmp_path / "p", encoding=encoding, quiet=True)
    source = PackSource([PackReader(tmp_path / "p")], again=True)
    plan = plan_pack(source, encoding=encoding)
    assert [(look.format, look.height) for look in plan.looks] == [(format_, 32)]
    assert plan.sizes[encoding].value == len(file)
