"""What a prediction is worth beside its ground truth: disparity errors, and COCO's average precision."""
