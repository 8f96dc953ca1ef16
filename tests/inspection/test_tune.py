"""Which settings ``tune`` finds, what it says of the others, and that nothing is left behind."""

from __future__ import annotations

import itertools
import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.images import write_tree
from helpers.leftovers import Leftovers
from helpers.packs import record, write_pack
from torch.utils.data import Dataset, IterableDataset, get_worker_info

import fastdata
from fastdata import OptionError, TuneReport, tune
from fastdata.inspection.trials import Setting, Subject, Trial, Trials
from fastdata.inspection.tune.search import Search, first_settings

SMALL: dict[str, Any] = {"size": 8, "max_workers": 2, "quiet": True}


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tuning")
    write_tree(root / "src", formats=(".jpg",))
    fastdata.pack_image_folder(root / "src", root / "photos.pack", quiet=True)
    return root / "photos.pack"


@pytest.fixture(scope="module")
def report(pack: Path) -> TuneReport:
    return tune(pack, 4, seconds=1, step_ms=5, **SMALL)


class Naps(Dataset[int]):
    """Each sample takes a while, asleep; reading fails where ``fails`` says so."""

    def __init__(self, seconds: float = 0.0, fails: str = "nowhere") -> None:
        self.seconds = seconds
        self.fails = fails

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        if self.fails == "everywhere" or (self.fails == "in workers" and get_worker_info()):
            raise OSError("no room in here\nfor anything")
        time.sleep(self.seconds)
        return index


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        yield from range(5)


class TestOfAPack:
    def test_every_setting_of_the_first_round_is_reported(self, report: TuneReport) -> None:
        workers = {(c.setting.num_workers, c.setting.worker_type) for c in report.candidates}
        kinds = ("process", "thread")
        assert workers == {(0, "process"), *itertools.product((1, 2), kinds)}
        assert report.best in report.candidates
        assert report.best.images_per_s > 0
        assert (report.samples, report.batch_size) == (12, 4)

    def test_the_line_is_python_that_loads_batches(self, pack: Path, report: TuneReport) -> None:
        assert report.line.startswith("fastdata.DataLoaderX(dataset, 4, shuffle=True")
        dataset = fastdata.PackedImageFolder(pack, fastdata.transforms.RandomResizedCrop(8))
        loader = eval(report.line, {"fastdata": fastdata, "dataset": dataset})
        batches = list(loader)
        assert [images.shape for images, _ in batches] == [(4, 3, 8, 8)] * 3
        chosen = report.best.setting
        assert loader.num_workers == chosen.num_workers
        assert chosen.num_workers == 0 or loader.worker_type == chosen.worker_type

    def test_the_code_is_a_whole_script(self, report: TuneReport) -> None:
        names: dict[str, Any] = {}
        exec(report.code, names)
        assert sum(len(images) for images, _ in names["loader"]) == 12
        assert str(report).endswith(report.code)
        assert report.code.endswith(f"\nloader = {report.line}")

    def test_a_step_is_simulated(self, report: TuneReport) -> None:
        assert report.step is not None
        assert report.step.steps >= 5
        assert report.step.needed == pytest.approx(800)
        assert report.step.margin == pytest.approx(report.best.images_per_s / 800)
        assert "a step of 5 ms: it " in str(report)

    def test_json(self, report: TuneReport) -> None:
        values = json.loads(json.dumps(report.as_dict()))
        assert values["line"] == report.line
        assert values["best"]["images_per_s"] == report.best.images_per_s
        assert values["step"]["keeps_up"] == report.step.keeps_up if report.step else False
        settings = [str(Setting(**c["setting"])) for c in values["candidates"]]
        assert settings == [str(c.setting) for c in report.candidates]

    def test_chart(self, report: TuneReport, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        report.save_chart(tmp_path / "tune.png")
        data = (tmp_path / "tune.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) > 5000

    def test_nothing_is_left_behind_when_the_time_is_over(self, pack: Path) -> None:
        leftovers = Leftovers()
        tune(pack, 4, seconds=0.3, **SMALL)
        leftovers.check()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu(pack: Path) -> None:
    report = tune(pack, 4, device="cuda", seconds=1, step_ms=5, **SMALL)
    assert report.line.endswith('device="cuda")')
    assert not any(candidate.error for candidate in report.candidates)


class TestOfADataset:
    def test_a_failing_candidate_is_named_and_left_out(self) -> None:
        report = tune(
            Naps(fails="in workers"), 4, seconds=0.5, max_workers=1, quiet=True,
            worker_types=("process", "thread"),
        )  # fmt: skip
        failed = [c for c in report.candidates if c.error]
        assert [c.setting for c in failed] == [Setting(1, "process")]
        assert re.search(r"^1 process +failed: OSError: no room in here$", str(report), re.M)
        assert not report.best.error

    def test_where_all_fail_the_error_is_raised(self) -> None:
        with pytest.raises(OSError, match="no room in here"):
            tune(Naps(fails="everywhere"), 4, seconds=0.5, max_workers=0, quiet=True)

    def test_threads_have_to_be_asked_for(self) -> None:
        report = tune(Naps(), 4, seconds=0.5, max_workers=1, quiet=True)
        kinds = {c.setting.worker_type for c in report.candidates}
        assert kinds == {"process"}

    def test_more_workers_are_found_to_be_faster(self) -> None:
        report = tune(
            Naps(0.01), 2, seconds=1, step_ms=1, max_workers=4, worker_types=["thread"], quiet=True
        )
        assert report.best.setting.num_workers == 4
        assert report.step is not None
        assert not report.step.keeps_up  # five milliseconds at best
        assert report.step.idle_simulated > 0.3
        assert "NOT keep up" in str(report)

    def test_a_long_step_is_kept_up_with(self) -> None:
        report = tune(Naps(), 2, seconds=0.5, step_ms=40, max_workers=0, quiet=True)
        assert report.step is not None
        assert report.step.margin > 1
        assert report.step.idle_expected == 0

    def test_the_callers_functions_stand_in_the_line(self) -> None:
        def collate_fn(samples: list[int]) -> torch.Tensor:
            return torch.tensor(samples) * 2

        report = tune(Naps(), 3, seconds=0.2, max_workers=0, collate_fn=collate_fn, quiet=True)
        assert report.line.endswith("collate_fn=collate_fn)")
        assert report.code == f"loader = {report.line}"
        names = {"fastdata": fastdata, "dataset": Naps(), "collate_fn": collate_fn}
        assert sorted(torch.cat(list(eval(report.line, names))).tolist()) == [*range(0, 24, 2)]

    def test_interrupted_it_gives_what_it_has(self) -> None:
        leftovers, counter = Leftovers(), itertools.count()

        def interrupting(batch: Any) -> Any:
            if next(counter) == 40:
                signal.raise_signal(signal.SIGINT)
            return batch

        with pytest.raises(KeyboardInterrupt) as caught:
            tune(
                Naps(0.002), 2, seconds=30, max_workers=2, worker_types=["thread"], quiet=True,
                batch_transform=interrupting,
            )  # fmt: skip
        (report,) = caught.value.args or (None,)
        if report is not None:  # else it came before the first trial was over
            assert report.interrupted
            assert "interrupted after" in str(report)
            assert "shuffle=True" in report.line
        del caught
        leftovers.check()


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
            ({"batch_size": 13}, "has 12 samples: no batch of 13"),
            ({"step_ms": 0.0}, "step_ms must be > 0"),
            ({"seconds": -1.0}, "seconds must be > 0"),
            ({"max_workers": -1}, "max_workers must be >= 0"),
            ({"worker_types": ["fibre"]}, "'process' or 'thread', got 'fibre'"),
            ({"device": "nonsense"}, "cannot use device 'nonsense'"),
            ({"size": 0}, "size must be >= 1"),
            ({"transform": "test"}, "'train', 'val' or a callable, got 'test'"),
        ],
    )
    def test_options(self, pack: Path, options: dict[str, Any], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            tune(pack, **{"batch_size": 4, "quiet": True, **options})

    def test_an_iterable_dataset(self) -> None:
        with pytest.raises(OptionError, match="map-style dataset with a length, not Stream"):
            tune(Stream(), 1, quiet=True)

    def test_an_empty_pack(self, tmp_path: Path) -> None:
        empty = write_pack(tmp_path / "empty.pack", [])
        with pytest.raises(fastdata.EmptySourceError, match=r"empty\.pack has no samples"):
            tune(empty, 1, quiet=True)

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(
            fastdata.SourceNotFoundError, match="neither a pack nor an image folder"
        ):
            tune(tmp_path / "nowhere", 1, quiet=True)

    def test_a_damaged_sample_is_no_settings_fault(self, tmp_path: Path) -> None:
        bad = write_pack(tmp_path / "bad.pack", [[record("a/0.jpg", b"no image", 0, 9, 9)] * 3])
        with pytest.raises(fastdata.SampleError, match=r"a/0\.jpg.*expected an encoded image") as e:
            tune(bad, 2, **SMALL)
        assert "\n" not in str(e.value)


class Scripted(Trials):
    """Loaders whose rates are told beforehand, on a machine that becomes faster each time."""

    def __init__(self, rates: dict[Setting, list[float]], faster: float) -> None:
        super().__init__(Naps(), 4, None, 0, {})
        self.speeds = (faster**i for i in itertools.count())
        self.rates = {s: itertools.cycle(r) for s, r in rates.items()}

    def rate(self, setting: Setting, seconds: float) -> Trial:
        rates = self.rates.get(setting)
        speed = next(self.speeds)
        return Trial(speed * (next(rates) if rates else 1.0), 0.1)


class Bar:
    """Shows nothing."""

    n = total = 0

    def update(self, step: float) -> None: ...
    def refresh(self) -> None: ...
    def set_description_str(self, text: str, refresh: bool) -> None: ...


def chosen(rates: dict[Setting, list[float]], faster: float = 1.0) -> TuneReport:
    search = Search(Scripted(rates, faster), list(rates), 5.0, None)
    search.bar = Bar()
    search.run()
    return search.report(Subject(Naps(), "naps", ""), "")


class TestTheChoice:
    def test_the_fastest(self) -> None:
        report = chosen({
            Setting(2, "thread"): [300, 302], Setting(2): [200], Setting(1, "thread"): [150],
            Setting(): [100],
        })  # fmt: skip
        assert report.best.setting == Setting(2, "thread")

    def test_of_equals_the_one_with_the_fewest_workers(self) -> None:
        report = chosen({
            Setting(8, "thread"): [300], Setting(4, "thread"): [299],
            Setting(2, "thread"): [298], Setting(): [100],
        })  # fmt: skip
        assert report.best.setting == Setting(2, "thread")
        assert Setting(4, "thread") in [candidate.setting for candidate in report.tied]

    def test_noise_of_the_fastest_widens_what_counts_as_equal(self) -> None:
        steady = {Setting(4): [100.0], Setting(1): [96.0], Setting(): [10.0]}
        assert chosen(steady).best.setting == Setting(4)
        noisy = {**steady, Setting(4): [88.0, 112.0]}
        assert chosen(noisy).best.setting == Setting(1)

    def test_a_machine_that_changes_its_speed_changes_it_for_all(self) -> None:
        rates = {Setting(4): [100.0], Setting(2): [90.0], Setting(): [50.0]}
        report = chosen(rates, faster=1.02)
        assert report.best.setting == Setting(4)
        assert max(report.best.rates) < 1.1 * min(report.best.rates)  # it was 1.02 ** 9

    def test_longer_queues_only_where_they_pay(self) -> None:
        base = {Setting(2): [100.0], Setting(1): [50.0], Setting(): [30.0]}
        assert chosen(base).best.setting == Setting(2)
        longer = Setting(2, prefetch_factor=4)
        report = chosen({**base, longer: [150.0]})
        assert report.best.setting == longer
        assert "num_workers=2, prefetch_factor=4" in report.line


class Fading(Scripted):
    """Loaders with workers fail from the third time on."""

    def rate(self, setting: Setting, seconds: float) -> Trial:
        self.tried = [*getattr(self, "tried", []), setting]
        if setting.num_workers and self.tried.count(setting) > 2:
            raise OSError("gone")
        return super().rate(setting, seconds)


def test_what_fails_later_on_is_not_chosen() -> None:
    search = Search(Fading({Setting(2): [300.0], Setting(1): [200.0], Setting(): [100.0]}, 1.0),
                    [Setting(2), Setting(1), Setting()], 5.0, None)  # fmt: skip
    search.bar = Bar()
    search.run()
    report = search.report(Subject(Naps(), "naps", ""), "")
    assert report.best.setting.num_workers == 0
    assert {c.setting for c in report.candidates if c.error} >= {Setting(2), Setting(1)}


def test_the_first_round_depends_on_the_workers_there_may_be() -> None:
    assert first_settings(("process",), 0) == [Setting()]
    assert {s.num_workers for s in first_settings(("process", "thread"), 16)} == {0, 1, 4, 8, 16}
    assert first_settings(("thread",), 4)[0] == Setting(4, "thread")
