"""COCO: ``instances_*.json`` beside its images."""
