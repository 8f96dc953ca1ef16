"""Images and masks: VOC, Cityscapes, ADE20K, or two directories."""
