"""Several ranks, as torchrun starts them: who sees which samples, and what a death does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from helpers.torchrun_script import GLOBAL_BATCH, LENGTH, SEED
from torch.utils.data import BatchSampler

from fastdata import RankSampler

SCRIPT = Path(__file__).parents[1] / "helpers" / "torchrun_script.py"
ALL = range(LENGTH)


def torchrun(world: int, results: Path, *checks: str, timeout: float = 50) -> tuple[int, str]:
    """Run checks on ``world`` ranks; the exit status, and what was printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(world), "--local-addr", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, str(SCRIPT), str(results), *checks],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )
    try:
        output = process.communicate(timeout=timeout)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode, output


@pytest.fixture(scope="module", params=[1, 2, 4], ids=lambda world: f"{world} ranks")
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What each rank has found, by the names of the checks."""
    results = tmp_path_factory.mktemp("ranks")
    checks = ["exact", "pad", "drop", "torchs_sampler", "looked_up_late"]
    status, output = torchrun(request.param, results, *checks)
    assert status == 0, output
    files = [results / f"rank-{rank}.json" for rank in range(request.param)]
    return [json.loads(path.read_text("utf-8")) for path in files]


def epochs_of(ranks: list[dict[str, Any]], check: str) -> list[list[list[int]]]:
    """Of each epoch the steps, of each step the samples of all ranks together."""
    epochs = zip(*(rank[check] for rank in ranks), strict=True)
    return [[sorted(chain(*step)) for step in zip(*epoch, strict=True)] for epoch in epochs]


def test_exact_sees_each_sample_once(ranks: list[dict[str, Any]]) -> None:
    for epoch in range(2):
        seen = [i for rank in ranks for batch in rank["exact"][epoch] for i in batch]
        assert sorted(seen) == list(ALL)


def test_pad_repeats_a_few_so_that_ranks_are_equal(ranks: list[dict[str, Any]]) -> None:
    for epoch in epochs_of(ranks, "pad"):
        seen = list(chain(*epoch))
        assert set(seen) == set(ALL)
        assert len(seen) == -(-LENGTH // len(ranks)) * len(ranks)


def test_drop_leaves_a_few_out(ranks: list[dict[str, Any]]) -> None:
    (epoch,) = epochs_of(ranks, "drop")
    seen = list(chain(*epoch))
    assert len(set(seen)) == len(seen) == LENGTH - LENGTH % len(ranks)


def test_epochs_are_reshuffled_without_set_epoch(ranks: list[dict[str, Any]]) -> None:
    assert len({str(epoch) for epoch in epochs_of(ranks, "pad")}) == 3


def test_batches_are_those_of_a_single_rank(ranks: list[dict[str, Any]]) -> None:
    alone = RankSampler(LENGTH, seed=SEED, rank=0, num_replicas=1)
    for epoch in epochs_of(ranks, "pad"):
        expected = [sorted(batch) for batch in BatchSampler(alone, GLOBAL_BATCH, drop_last=False)]
        assert epoch[:-1] == expected[:-1]
        assert set(epoch[-1]) >= set(expected[-1])


def test_torchs_sampler_works_as_ever(ranks: list[dict[str, Any]]) -> None:
    first, second, again = epochs_of(ranks, "torchs_sampler")
    for epoch in (first, second):
        assert set(chain(*epoch)) == set(ALL)
    assert first == again
    assert first != second


def test_samplers_know_their_place_before_there_is_a_group(ranks: list[dict[str, Any]]) -> None:
    expected = [[[rank, len(ranks)]] * 2 for rank in range(len(ranks))]
    assert [rank["looked_up_late"] for rank in ranks] == expected


def test_when_a_rank_dies_the_others_do_not_hang(tmp_path: Path) -> None:
    status, output = torchrun(2, tmp_path, "die")
    assert status != 0
    assert "SIGKILL" in output or "-9" in output
    assert list(tmp_path.iterdir()) == []
