"""Places: the same behaviour of directories, memory, HTTP and S3, and clear errors of all."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from helpers.servers import FileServer, s3_server
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdata
from fastdata.errors import (
    MissingDependencyError,
    OptionError,
    PackFormatError,
    PackNotFoundError,
    RemoteError,
)
from fastdata.store.remote import LocalPlace, Place, Retry, is_url, open_place
from fastdata.store.remote.place import Cancelled, checked_name

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

SOON = Retry(attempts=3, wait=0.01)
ONCE = Retry(attempts=1)
FILES = {"pack.json": b"{}", "shard-00000.lmdb": bytes(range(256)) * 3000, "empty": b""}
BAD_NAMES = ["", "/etc/passwd", "../up", "a/../b", "a//b", "./a", "a/", "a\\b", "C:/x", "a*", "a\n"]


@pytest.fixture(scope="module")
def s3_options() -> Iterator[dict[str, Any]]:
    with s3_server() as options:
        yield options


@pytest.fixture(scope="module")
def s3_place(s3_options: dict[str, Any]) -> Place:
    """One for all tests: making a client takes half a second."""
    fsspec.filesystem("s3", **s3_options).mkdir("bucket")
    return open_place("s3://bucket/some/pack", retry=SOON, **s3_options)


class Reading(ABC):
    """What each place does that can be read."""

    @pytest.fixture
    @abstractmethod
    def full(self) -> Place:
        """A place that holds FILES."""

    def test_read_and_size(self, full: Place) -> None:
        for name, data in FILES.items():
            assert full.read(name) == data
            assert full.size(name) == len(data)
            assert full.exists(name)

    def test_get_writes_the_file_and_nothing_else(self, full: Place, tmp_path: Path) -> None:
        target = tmp_path / "here" / "shard"
        target.parent.mkdir()
        target.write_bytes(b"old")
        full.get("shard-00000.lmdb", target)
        assert target.read_bytes() == FILES["shard-00000.lmdb"]
        assert os.listdir(target.parent) == ["shard"]

    def test_what_is_not_there(self, full: Place, tmp_path: Path) -> None:
        target = tmp_path / "target"
        for ask in (full.read, full.size, lambda name: full.get(name, target)):
            with pytest.raises(PackNotFoundError, match=r"no-such-file.*: there is no"):
                ask("no-such-file")
        assert not full.exists("no-such-file")
        assert not target.exists()

    def test_names_that_are_no_plain_names(self, full: Place) -> None:
        for name in BAD_NAMES:
            for ask in (full.size, full.read, full.local_path):
                with pytest.raises(OptionError, match="plain"):
                    ask(name)

    def test_read_and_download_refuse_more_than_was_announced(
        self, full: Place, tmp_path: Path
    ) -> None:
        with pytest.raises(PackFormatError, match=r"shard-00000.lmdb: expected at most 1000 bytes"):
            full.read("shard-00000.lmdb", most=1000)

    def test_a_download_can_be_cancelled(self, full: Place, tmp_path: Path) -> None:
        with pytest.raises(Cancelled):
            full.download("shard-00000.lmdb", tmp_path / "x", cancelled=lambda: True)

    def test_pickled(self, full: Place) -> None:
        assert pickle.loads(pickle.dumps(full)).read("pack.json") == b"{}"

    def test_threads_share_it(self, full: Place) -> None:
        found: list[bytes] = []

        def read() -> None:
            for _ in range(20):
                found.append(full.read("shard-00000.lmdb"))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [FILES["shard-00000.lmdb"]] * 80

    def test_a_forked_child_reads_and_the_parent_goes_on(self, full: Place) -> None:
        assert full.read("pack.json") == b"{}"  # whatever keeps connections has one now
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(full.read, ["pack.json"] * 4) == [b"{}"] * 4
        assert full.read("pack.json") == b"{}"


class Writing(Reading):
    """What each place does that can be written, too."""

    @pytest.fixture
    @abstractmethod
    def empty(self) -> Place:
        """A place that holds nothing."""

    @pytest.fixture
    def full(self, empty: Place, tmp_path: Path) -> Place:
        for name, data in FILES.items():
            source = tmp_path / "source"
            source.write_bytes(data)
            empty.put(source, name)
        return empty

    def test_names(self, empty: Place) -> None:
        assert empty.names() == []
        for name in ("b", "a/c", "pack.json"):
            empty.write(name, b"x")
        assert empty.names() == ["a/c", "b", "pack.json"]

    def test_put_replaces_and_leaves_nothing_beside_it(self, full: Place, tmp_path: Path) -> None:
        source = tmp_path / "new"
        source.write_bytes(b"new")
        full.put(source, "pack.json")
        assert full.read("pack.json") == b"new"
        assert full.names() == sorted(FILES)

    def test_what_others_write_is_seen_at_once(self, full: Place) -> None:
        other = pickle.loads(pickle.dumps(full))
        assert "later" not in full.names()
        other.write("later", b"12345")
        assert "later" in full.names()
        assert full.size("later") == 5
        other.write("later", b"123")
        assert full.size("later") == 3
        other.delete("later")
        assert not full.exists("later")

    def test_delete_twice(self, full: Place) -> None:
        full.delete("pack.json")
        full.delete("pack.json")
        assert full.names() == sorted(set(FILES) - {"pack.json"})

    def test_put_of_no_file(self, empty: Place, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="nowhere"):
            empty.put(tmp_path / "nowhere", "x")
        assert empty.names() == []

    def test_a_directory_is_no_file(self, empty: Place, tmp_path: Path) -> None:
        empty.write("below/file", b"x")
        assert not empty.exists("below")
        with pytest.raises(PackNotFoundError):
            empty.get("below", tmp_path / "below")
        assert list(tmp_path.glob("below*")) == []


class TestLocal(Writing):
    @pytest.fixture
    def empty(self, tmp_path: Path) -> Place:
        return open_place(tmp_path / "pack")

    def test_file_urls_are_paths(self, tmp_path: Path) -> None:
        (tmp_path / "a b").mkdir()
        place = open_place((tmp_path / "a b").as_uri())
        assert isinstance(place, LocalPlace)
        assert place.directory == tmp_path / "a b"
        assert place.local_path("x") == tmp_path / "a b" / "x"
        with pytest.raises(OptionError, match="three slashes"):
            open_place("file://host/path")

    def test_a_link_leads_to_the_same_place(self, tmp_path: Path) -> None:
        (tmp_path / "pack").mkdir()
        (tmp_path / "link").symlink_to("pack")
        place = open_place(tmp_path / "link")
        assert place.path == place.directory == tmp_path / "link"
        assert place.is_at(str(tmp_path / "pack"))
        assert not place.is_at(str(tmp_path))

    def test_a_named_pipe_is_no_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(PackNotFoundError):
            open_place(tmp_path).read("pipe")


class TestMemory(Writing):
    @pytest.fixture
    def empty(self, tmp_path: Path) -> Place:
        return open_place(f"memory:/{tmp_path}/pack")

    def test_a_url_is_no_directory(self) -> None:
        place = open_place("memory://user:secret@there/pack/")
        assert place.directory is None
        assert place.path == "memory://…@there/pack"
        assert open_place("memory://pack").is_at("memory://pack/")
        assert not open_place("memory://pack").is_at("memory://other")


class TestS3(Writing):
    @pytest.fixture
    def empty(self, s3_place: Place) -> Place:
        for name in s3_place.names():
            s3_place.delete(name)
        return s3_place

    def test_a_large_file_in_parts(
        self, empty: Place, s3_options: dict[str, Any], tmp_path: Path
    ) -> None:
        data = os.urandom(6 << 20)
        (tmp_path / "large").write_bytes(data)
        empty.put(tmp_path / "large", "large")
        small_parts = open_place(empty.describe(), default_block_size=1 << 20, **s3_options)
        small_parts.get("large", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data

    def test_no_bucket(self, s3_options: dict[str, Any]) -> None:
        place = open_place("s3://no-such-bucket/pack", retry=SOON, **s3_options)
        with pytest.raises(PackNotFoundError, match=r"s3://no-such-bucket/pack/pack\.json"):
            place.read("pack.json")
        with pytest.raises(PackNotFoundError, match="s3://no-such-bucket/pack"):
            place.write("pack.json", b"")

    def test_no_server(self) -> None:
        options = {"endpoint_url": "http://127.0.0.1:9"}
        place = open_place(
            "s3://bucket/pack",
            retry=Retry(attempts=2, wait=0.01),
            key="k",
            secret="s",
            client_kwargs=options,
            config_kwargs={"retries": {"max_attempts": 0}},  # botocore's own take seconds
        )
        expected = r"download s3://bucket/pack/x in 2 attempts.*check the network"
        with pytest.raises(RemoteError, match=expected):
            place.read("x")

    def test_no_credentials(self, s3_options: dict[str, Any], monkeypatch: Any) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        place = open_place("s3://bucket/x", client_kwargs=s3_options["client_kwargs"])
        with pytest.raises(RemoteError, match="check the credentials"):
            place.read("pack.json")


class TestHttp(Reading):
    @pytest.fixture
    def server(self) -> Iterator[FileServer]:
        with FileServer({f"my pack/{name}": data for name, data in FILES.items()}) as server:
            yield server

    @pytest.fixture
    def full(self, server: FileServer) -> Place:
        return open_place(f"{server.url}/my pack/", retry=SOON)

    def test_special_characters_of_urls_in_names(self, server: FileServer, full: Place) -> None:
        for name in ("a b", "50%", "%41", "x#y", "ü"):
            server.files[f"my pack/{name}"] = name.encode()
            assert full.read(name) == name.encode()

    def test_transient_failures_are_retried(self, server: FileServer, full: Place) -> None:
        server.fail_first = 2
        assert full.read("pack.json") == b"{}"
        server.fail_first = 2
        assert full.size("pack.json") == 2
        server.truncate_first = 2
        assert full.read("shard-00000.lmdb") == FILES["shard-00000.lmdb"]

    def test_the_number_of_attempts_is_bounded(self, server: FileServer, full: Place) -> None:
        server.fail_first = 1000
        with pytest.raises(RemoteError, match=r"download http.*/my pack/pack.json in 3 attempts"):
            full.read("pack.json")
        assert len(server.requests) == 3
        with pytest.raises(RemoteError, match=r"size of http.*503.*check the network"):
            full.exists("pack.json")

    def test_other_failures_are_not_retried(self, server: FileServer, full: Place) -> None:
        server.fail_first, server.status = 1000, 403
        with pytest.raises(RemoteError, match=r"403.*check the credentials"):
            full.read("pack.json")
        assert len(server.requests) == 1

    def test_a_response_that_is_always_cut_off(
        self, server: FileServer, full: Place, tmp_path: Path
    ) -> None:
        server.truncate_first = 1000
        with pytest.raises(RemoteError, match=r"shard-00000.lmdb in 3 attempts"):
            full.get("shard-00000.lmdb", tmp_path / "x")
        assert list(tmp_path.iterdir()) == []

    def test_an_endless_response_ends(self, server: FileServer, full: Place) -> None:
        server.endless = True
        with pytest.raises(PackFormatError, match=r"pack.json: expected at most 5000 bytes"):
            full.read("pack.json", most=5000)

    def test_no_server(self) -> None:
        with FileServer({}) as server:
            url = server.url
        with pytest.raises(RemoteError, match=rf"{re.escape(url)}/pack.json in 3 attempts"):
            open_place(url, retry=SOON).read("pack.json")

    def test_it_is_read_only(self, full: Place, tmp_path: Path) -> None:
        for change in (lambda: full.write("x", b""), lambda: full.delete("x")):
            with pytest.raises(OptionError, match="only be read"):
                change()
        with pytest.raises(OptionError, match="listed"):
            full.names()

    def test_passwords_are_not_shown(self) -> None:
        with FileServer({}) as server:
            url = server.url.replace("http://", "http://user:hunter2@")
        place = open_place(url, retry=ONCE)
        with pytest.raises(RemoteError) as caught:
            place.read("pack.json")
        assert "hunter2" not in str(caught.value) + place.describe("x")

    def test_a_spawned_child_reads(self, full: Place) -> None:
        # The package's __init__ imports torch, which takes seconds: this child does without.
        code = (
            "import pickle, sys, types\n"
            "sys.modules['fastdata'] = package = types.ModuleType('fastdata')\n"
            f"package.__path__ = {list(fastdata.__path__)}\n"
            "print(pickle.load(sys.stdin.buffer).read('pack.json').decode())"
        )
        child = [sys.executable, "-c", code]
        done = subprocess.run(child, input=pickle.dumps(full), stdout=subprocess.PIPE, check=True)
        assert done.stdout.strip() == b"{}"


def test_which_paths_are_urls() -> None:
    assert is_url("s3://bucket/pack")
    assert is_url("HTTPS://host/x")
    for path in ("pack", "/data/pack", "C:\\packs", "C:/packs", "a:b", Path("s3:/bucket")):
        assert not is_url(path)


def test_a_path_object_is_no_url() -> None:
    with pytest.raises(OptionError, match="loses a slash"):
        open_place(Path("s3://bucket/pack"))


@pytest.mark.parametrize(
    "url", ["simplecache::s3://b/x", "http://h/pack?token=1", "http://h/pack#x", "nonsense://x"]
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(OptionError):
        open_place(url)


def test_a_missing_package_is_named() -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "sys.modules['fsspec.registry']._registry.clear()\n"
        "from fastdata.store.remote import open_place\n"
        "open_place('s3://bucket/pack')"
    )
    check_missing(code, "pip install s3fs")


def test_missing_fsspec_is_named() -> None:
    code = (
        "from fastdata.store.remote import open_place\n"
        "import sys; sys.modules.pop('fastdata.store.remote.url', None)\n"
        "sys.modules.update(dict.fromkeys(n for n in sys.modules if n.startswith('fsspec')))\n"
        "open_place('/tmp'); open_place('file:///tmp')\n"
        "open_place('memory://pack')"
    )
    check_missing(code, "pip install fsspec")


def check_missing(code: str, command: str) -> None:
    # In a process of its own: what is imported here must not be disturbed.
    with (
        multiprocessing.get_context("fork").Pool(1) as pool,
        pytest.raises(MissingDependencyError, match=command),
    ):
        pool.apply(exec, (code, {}))


def test_wrong_retries_and_options() -> None:
    for values in ({"attempts": 0}, {"wait": -1.0}, {"longest_wait": -1.0}):
        with pytest.raises(OptionError):
            Retry(**values)  # type: ignore[arg-type]


def test_a_full_local_disk_is_no_remote_error(tmp_path: Path) -> None:
    place = open_place("memory://full", retry=SOON)
    place.write("file", b"x" * 100)
    with pytest.raises(OSError, match="No space left") as caught:
        place.download("file", Path("/dev/full"))
    assert caught.value.errno == errno.ENOSPC
    assert not isinstance(caught.value, RemoteError)


@settings(max_examples=50)
@given(st.text(max_size=20))
def test_an_accepted_name_stays_below_its_root(name: str) -> None:
    try:
        checked_name(name)
    except OptionError:
        return
    path = Path("/root/pack") / name
    assert ".." not in path.parts
    assert path.is_relative_to("/root/pack")
    assert path != Path("/root/pack")
