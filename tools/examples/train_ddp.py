"""Train on several GPUs, or CPU processes; after a kill, go on from the last checkpoint.

torchrun --nproc-per-node 4 --max-restarts 3 tools/examples/train_ddp.py photos.pack

The same command starts a run and takes up one that was killed: in the middle of its epoch, with
the very samples that are missing. The number of ranks may change, as long as it divides --batch.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset
from train import common_options, small_cnn

import fastdata
from fastdata import transforms as T


def main() -> None:
    parser = common_options(__doc__)
    parser.add_argument("--checkpoint", type=Path, default="run.pt", help="all ranks read it")
    parser.add_argument("--every", type=int, default=50, help="steps between checkpoints")
    parser.add_argument("--trace", type=Path, help="write each rank's steps here, as JSON lines")
    options = parser.parse_args()
    cuda = torch.cuda.is_available()
    device = torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu")
    distributed.init_process_group("nccl" if cuda else "gloo")
    torch.manual_seed(0)  # on all ranks the same weights and crops

    crops = T.Compose([T.RandomResizedCrop(options.size), T.RandomHorizontalFlip()])
    dataset = fastdata.PackedImageFolder(options.pack, crops)
    loader = fastdata.DataLoaderX(
        Numbered(dataset) if options.trace else dataset,
        batch_size=options.batch // distributed.get_world_size(),
        sampler=fastdata.RankSampler(dataset),  # this rank's share, in another order each epoch
        num_workers=options.workers,
        device=device,
        batch_transform=T.DeviceNormalize(),
    )
    model = DistributedDataParallel(small_cnn(len(dataset.classes)).to(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
    parts = {"model": model.module, "optimizer": optimizer, "loader": loader}
    path = options.checkpoint
    first_epoch, step = load(path, parts, device) if path.exists() else (0, 0)

    for epoch in range(first_epoch, options.epochs):
        for images, targets, *indices in loader:
            loss = nn.functional.cross_entropy(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if options.trace:
                line = {"epoch": epoch, "step": step, "loss": loss.item()}
                with options.trace.open("a") as file:
                    file.write(json.dumps({**line, "samples": indices[0].tolist()}) + "\n")
            if step % options.every == 0 and distributed.get_rank() == 0:
                save(path, parts, epoch, step)
                print(f"epoch {epoch}, step {step}: loss {loss.item():.3f}", flush=True)
        if distributed.get_rank() == 0:
            print(f"epoch {epoch} is over: {loader.stats()}", flush=True)
    distributed.destroy_process_group()


def save(path: Path, parts: dict[str, Any], epoch: int, step: int) -> None:
    """Replace the checkpoint at once: a kill leaves the old one or the new one, whole."""
    states = {name: part.state_dict() for name, part in parts.items()}
    torch.save({**states, "epoch": epoch, "step": step}, path.with_suffix(".partial"))
    os.replace(path.with_suffix(".partial"), path)


def load(path: Path, parts: dict[str, Any], device: torch.device) -> tuple[int, int]:
    """Bring all parts to where they were; the epoch, and the number of steps so far."""
    states = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(states[name])  # rank 0's; the loader's fits every rank, too
    return states["epoch"], states["step"]


class Numbered(Dataset[Any]):
    """Adds its index to each sample, for the trace."""

    def __init__(self, dataset: fastdata.PackedImageFolder) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return *self.dataset[index], index

    def __len__(self) -> int:
        return len(self.dataset)


if __name__ == "__main__":
    main()
