"""Train in mixed precision, in channels_last memory, with MixUp and CutMix.

python tools/examples/train_amp.py photos.pack --dtype bfloat16
"""

from __future__ import annotations

import torch
from torch import nn
from train import common_options, small_cnn

import fastdata
from fastdata import transforms as T


def main() -> None:
    parser = common_options(__doc__)
    parser.add_argument("--dtype", choices=("bfloat16", "float16"), default="bfloat16")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = getattr(torch, options.dtype)
    torch.manual_seed(0)

    crops = T.Compose([T.RandomResizedCrop(options.size), T.RandomHorizontalFlip()])
    dataset = fastdata.PackedImageFolder(options.pack, crops)
    classes = len(dataset.classes)
    mixing = T.RandomChoice([T.MixUp(0.2, classes), T.CutMix(1.0, classes)])
    loader = fastdata.DataLoaderX(
        dataset,
        batch_size=options.batch,
        shuffle=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        device=device,
        # On the device, before the training asks for the batch: uint8 to dtype, in channels_last
        # memory, then mixed. Targets become a probability for each class.
        batch_transform=T.Compose([T.DeviceNormalize(dtype=dtype), mixing]),
    )
    model = small_cnn(classes).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
    # float16 has so few small numbers that gradients vanish unless the loss is scaled up.
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    for epoch in range(1, options.epochs + 1):
        loss = train_epoch(model, optimizer, scaler, loader, dtype)
        print(f"epoch {epoch}: loss {loss:.3f}")
    print(loader.stats())


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    loader: fastdata.DataLoaderX,
    dtype: torch.dtype,
) -> float:
    """Mean loss of the batches."""
    losses = []
    for images, targets in loader:
        with torch.autocast(images.device.type, dtype):
            loss = nn.functional.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.detach())
    return torch.stack(losses).mean().item()


if __name__ == "__main__":
    main()
