"""Train a small CNN on a pack, on one device.

fastdata pack photos photos.pack
python tools/examples/train.py photos.pack --epochs 5
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

import fastdata
from fastdata import transforms as T


def main() -> None:
    parser = common_options(__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(options.device)
    torch.manual_seed(0)  # weights, order of samples, crops and flips

    crops = T.Compose([T.RandomResizedCrop(options.size), T.RandomHorizontalFlip()])
    dataset = fastdata.PackedImageFolder(options.pack, crops)
    loader = fastdata.DataLoaderX(
        dataset,
        batch_size=options.batch,
        shuffle=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        device=device,  # where batches arrive, as uint8 ...
        batch_transform=T.DeviceNormalize(),  # ... and become float32
    )
    model = small_cnn(len(dataset.classes)).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)

    for epoch in range(1, options.epochs + 1):
        loss, accuracy = train_epoch(model, optimizer, loader)
        print(f"epoch {epoch}: loss {loss:.3f}, accuracy {accuracy:.1%}")
        print(f"  {loader.stats()}")


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, loader: fastdata.DataLoaderX
) -> tuple[float, float]:
    """Mean loss and accuracy over the epoch, each batch judged before its own step."""
    model.train()
    total_loss = correct = samples = 0
    for images, targets in loader:
        outputs = model(images)
        loss = nn.functional.cross_entropy(outputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # Sums stay on the device: reading them here would make each step wait for it.
        total_loss += loss.detach() * len(targets)
        correct += (outputs.argmax(1) == targets).sum()
        samples += len(targets)
    return float(total_loss) / samples, float(correct) / samples


def small_cnn(classes: int) -> nn.Module:
    """Three convolution blocks and a linear classifier.

    GroupNorm sees one image at a time: results do not depend on how ranks share a batch.
    """
    layers: list[nn.Module] = []
    for before, after in [(3, 16), (16, 32), (32, 64)]:
        convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        layers += [convolution, nn.GroupNorm(8, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def common_options(doc: str) -> argparse.ArgumentParser:
    """The options of all three training examples."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    add = parser.add_argument
    add("pack", type=Path, help="made by `fastdata pack`")
    add("--epochs", type=int, default=5)
    add("--batch", type=int, default=64, help="images in a batch (%(default)s)")
    add("--size", type=int, default=96, help="pixels of a crop (%(default)s)")
    add("--lr", type=float, default=1e-3, help="learning rate (%(default)s)")
    add("--workers", type=int, default=2, help="loading processes (%(default)s)")
    return parser


if __name__ == "__main__":
    main()
