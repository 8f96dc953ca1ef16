"""A training script that knows nothing of fastdata, but for one name.

python tools/examples/one_line.py photos              # with torch's DataLoader
python tools/examples/one_line.py photos --fastdata   # with DataLoaderX: the same batches

Dataset, transforms and loop stay as they were. Faster still are fastdata's own datasets: train.py.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from fastdata import DataLoaderX


class Photos(Dataset):
    """PIL images, one directory for each class: flipped by chance, as float tensors."""

    def __init__(self, folder: Path, size: int) -> None:
        self.classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
        self.paths = sorted(path for path in folder.glob("*/*") if path.is_file())
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path = self.paths[index]
        image = Image.open(path).convert("RGB").resize((self.size, self.size))
        if torch.rand(()) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return pixels, self.classes.index(path.parent.name)


def main() -> None:
    options = parse_options()
    torch.manual_seed(0)
    dataset = Photos(options.folder, options.size)

    Loader = DataLoaderX if options.fastdata else DataLoader  # the one name
    loader = Loader(dataset, batch_size=options.batch, shuffle=True, num_workers=options.workers)

    features = nn.Sequential(nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
    model = nn.Sequential(features, nn.Flatten(), nn.Linear(16 * 4 * 4, len(dataset.classes)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(1, options.epochs + 1):
        checksum = 0
        for images, targets in loader:
            loss = nn.functional.cross_entropy(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for part in (images, targets):
                checksum = zlib.crc32(part.numpy().tobytes(), checksum)
        print(f"epoch {epoch}: last loss {loss.item():.4f}, checksum of batches {checksum:08x}")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("folder", type=Path, help="images, one directory for each class")
    add("--fastdata", action="store_true", help="take fastdata's loader instead of torch's")
    add("--epochs", type=int, default=2)
    add("--batch", type=int, default=32, help="images in a batch (%(default)s)")
    add("--size", type=int, default=64, help="pixels of an image (%(default)s)")
    add("--workers", type=int, default=2, help="loading processes (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
