"""COCO documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CATEGORIES = [{"id": 18, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": "car"}]


def annotation(number: int, image: int, category: int = 18, **more: Any) -> dict[str, Any]:
    """An annotation with a box of its own."""
    box = [number, number + 0.5, 10, 20.25]
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, **more}


def document(**changes: Any) -> dict[str, Any]:
    """Three images, of which one has no annotations, not in the order of their ids."""
    return {
        "info": {"images": []},
        "images": [{"id": i, "file_name": f"{i:03d}.jpg", "height": 40} for i in (7, 5, 9)],
        "annotations": [
            annotation(1, 9, area=4.5, iscrowd=0, segmentation=[[1, 2, 3, 4, 5, 6]]),
            annotation(2, 5, 3),
            annotation(3, 9, 3, iscrowd=1, segmentation={"counts": "abc", "size": [4, 5]}),
        ],
        "categories": [dict(category) for category in CATEGORIES],
        **changes,
    }


def written(root: Path, content: Any, name: str = "annotations/instances_val.json") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
