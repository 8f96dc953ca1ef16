"""ResNet-50, the model of the GPU benchmark; torchvision is no dependency.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, with the stride
of a block in its 3×3 convolution, as is usual today.
"""

from __future__ import annotations

from torch import Tensor, nn

BLOCKS, WIDTHS, GROWTH = (3, 4, 6, 3), (64, 128, 256, 512), 4


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps height and width but for the stride, then batch normalisation."""
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """The paper's block of three convolutions around a narrow one."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = GROWTH * width
        self.narrow = convolution(inputs, width, 1)
        self.middle = convolution(width, width, 3, stride)
        self.widen = convolution(width, outputs, 1)
        plain = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if plain else convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.middle(self.narrow(x).relu_()).relu_()
        return (self.widen(inner) + self.shortcut(x)).relu_()


def resnet50(classes: int = 1000) -> nn.Sequential:
    """N×3×H×W floats to N×classes logits."""
    layers = [convolution(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, (blocks, width) in enumerate(zip(BLOCKS, WIDTHS, strict=True)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, 2 if stage and not block else 1))
            inputs = GROWTH * width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
    return nn.Sequential(*layers, *head)
