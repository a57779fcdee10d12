"""COCO's average precision against values worked out by hand, and against a second implementation of its definition."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("pycocotools", reason="pycocotools is not installed")

from fabench.accuracy import DetectionResult
from fabench.data.coco import CocoSet
from fabench.errors import DataError
from fabench.metrics.detection import CocoScore, Detections

Box = tuple[float, float, float, float]  # x0, y0, x1, y1
H, W = 300, 400
CATEGORIES = [{"id": 3, "name": "square"}, {"id": 18, "name": "other"}]


def dataset(images: Sequence[Sequence[Box]], crowds: Sequence[Sequence[Box]] = (), outlines: bool = True) -> CocoSet:
    """Images with objects of category 3 that fill their boxes; ids of annotations count from 0."""
    annotations: list[dict[str, Any]] = []
    for crowd, groups in ((0, images), (1, crowds)):
        for image_id, boxes in enumerate(groups):
            for x0, y0, x1, y1 in boxes:
                mask = np.zeros((H, W), bool)
                mask[int(y0) : int(y1), int(x0) : int(x1)] = True
                flat = mask.ravel(order="F")
                runs = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()
                counts = [0, *runs] if flat[0] else runs
                outline: Any = {"size": [H, W], "counts": counts} if crowd else [[x0, y0, x1, y0, x1, y1, x0, y1]]
                annotations.append({
                    "id": len(annotations), "image_id": image_id, "category_id": 3, "iscrowd": crowd,
                    "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), **({"segmentation": outline} if outlines else {}),
                })  # fmt: skip
    listed = [{"id": number, "height": H, "width": W, "file_name": f"{number}.png"} for number in range(len(images))]
    content: Mapping[str, Any] = {"images": listed, "annotations": annotations, "categories": CATEGORIES}
    return CocoSet(content, "made", lambda _: np.zeros((H, W, 3), np.uint8))


def found(boxes: Sequence[Box], scores: Sequence[float] | None = None, label: int = 3, masks: bool = True) -> Detections:
    drawn = np.zeros((len(boxes), H, W), bool)
    for mask, (x0, y0, x1, y1) in zip(drawn, boxes, strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    given_scores = np.linspace(0.9, 0.5, len(boxes)) if scores is None else np.array(scores, float)
    labels = np.full(len(boxes), label)
    return Detections(np.array(boxes, float).reshape(-1, 4), given_scores, labels, drawn if masks else None)


def score(truth: CocoSet, *images: Detections) -> DetectionResult:
    scorer = CocoScore(truth)
    for index, one in enumerate(images):
        scorer.add(index, one)
    return scorer.result()


ONE = pytest.approx((1.0, 1.0), abs=1e-12)  # pycocotools keeps a denominator off 0 by 2e-16
A, B, C = (10.0, 10.0, 110.0, 110.0), (150.0, 20.0, 250.0, 120.0), (20.0, 150.0, 120.0, 250.0)


def both(result: DetectionResult, name: str = "ap") -> tuple[float | None, float | None]:
    assert result.masks is not None
    return getattr(result.boxes, name), getattr(result.masks, name)


def test_perfect_detections_are_1() -> None:
    result = score(dataset([[A, B], [C]]), found([A, B]), found([C]))
    for name in ("ap", "ap50", "ap75", "ap_large", "ar_100"):
        assert both(result, name) == ONE
    assert both(result, "ap_small") == (None, None)
    assert both(result, "ar_1") == pytest.approx((2 / 3, 2 / 3))
    assert (result.images, result.instances, result.detections, result.unknown) == (2, 3, 3, 0)
    assert result.warnings == ()


# A box of 100 moved by s overlaps (100 - s) / (100 + s); of the ten thresholds 0.50, 0.55 .. 0.95 those up to that are met.
@pytest.mark.parametrize(("shift", "met"), [(2, 10), (5, 9), (10, 7), (20, 4), (30, 1), (40, 0)])
def test_a_known_jitter(shift: int, met: int) -> None:
    x0, y0, x1, y1 = A
    for moved in ((x0 + shift, y0, x1 + shift, y1), (x0, y0 + shift, x1, y1 + shift)):
        result = score(dataset([[A]]), found([moved]))
        assert both(result) == pytest.approx((met / 10, met / 10))
        assert both(result, "ap50") == pytest.approx((float(met > 0),) * 2)


def test_one_missed_of_two_is_read_at_51_of_101_recalls() -> None:
    result = score(dataset([[A, B]]), found([A]))
    assert both(result) == pytest.approx((51 / 101, 51 / 101))
    assert both(result, "ar_100") == (0.5, 0.5)


def test_duplicates() -> None:
    # Sorted by score: right, duplicate, right. Precision 1 up to recall 1/2 (51 of 101 recalls), then 2/3 (50).
    result = score(dataset([[A, B]]), found([A, A, B]))
    assert both(result) == pytest.approx(((51 + 50 * 2 / 3) / 101,) * 2)
    # Behind everything that is right a duplicate costs nothing, before it each does.
    assert both(score(dataset([[A]]), found([A, A]))) == ONE
    assert both(score(dataset([[A]]), found([B, A]))) == (0.5, 0.5)


def test_scores_are_ranked_across_images() -> None:
    truth = dataset([[A], [A]])
    best_first = score(truth, found([A, B], [0.9, 0.1]), found([A], [0.8]))
    worst_first = score(truth, found([A, B], [0.9, 0.85]), found([A], [0.8]))
    assert both(best_first) == ONE
    assert both(worst_first) == pytest.approx(((51 + 50 * 2 / 3) / 101,) * 2)


def test_a_wrong_or_unknown_category_is_no_detection() -> None:
    assert both(score(dataset([[A]]), found([A], label=18))) == (0.0, 0.0)
    unknown = score(dataset([[A]]), found([A], label=5))
    assert both(unknown) == (0.0, 0.0)
    assert unknown.unknown == 1
    assert "1 of 1 detections are of categories that the set does not have" in unknown.warnings


def test_flipped_detections_lose() -> None:
    left_right, up_down = (W - A[2], A[1], W - A[0], A[3]), (A[0], H - A[3], A[2], H - A[1])
    for flipped in (left_right, up_down):
        assert both(score(dataset([[A]]), found([flipped]))) == (0.0, 0.0)


def test_a_crowd_takes_any_number_and_counts_neither_way() -> None:
    inside = (160.0, 30.0, 200.0, 70.0)
    result = score(dataset([[A]], [[B]]), found([inside, inside, A]))
    assert both(result) == ONE
    assert (result.instances, result.crowds) == (1, 1)


def test_a_wrong_detection_counts_at_its_own_size_only() -> None:
    small = (300.0, 200.0, 320.0, 220.0)
    beside_small, beside_large = (score(dataset([[A]]), found([wrong, A])) for wrong in (small, B))
    assert both(beside_small) == both(beside_large) == pytest.approx((0.5, 0.5))
    assert both(beside_small, "ap_large") == ONE
    assert both(beside_large, "ap_large") == pytest.approx((0.5, 0.5))


def test_at_most_100_per_image_count() -> None:
    result = score(dataset([[A]]), found([*[B] * 100, A]))
    assert both(result) == (0.0, 0.0)
    assert both(score(dataset([[A]]), found([*[B] * 99, A]))) == pytest.approx((0.01, 0.01))


def test_boxes_and_masks_are_scored_apart() -> None:
    one = found([A])
    assert one.masks is not None
    half = one.masks.copy()
    half[:, :, 60:] = False  # half of the object: overlap 0.5
    result = score(dataset([[A]]), Detections(one.boxes, one.scores, one.labels, half))
    assert both(result) == pytest.approx((1.0, 0.1))


def test_no_detections_no_objects_no_masks() -> None:
    nothing = score(dataset([[A]]), found([]))
    assert both(nothing) == (0.0, 0.0)
    assert "nothing was detected in any image" in nothing.warnings
    no_objects = score(dataset([[]]), found([A]))
    assert both(no_objects) == (None, None)
    assert no_objects.empty_images == 1
    assert "the set has no objects, so there is no average precision" in no_objects.warnings
    assert score(dataset([[A]]), found([A], masks=False)).masks is None
    assert score(dataset([[A]], outlines=False), found([A])).masks is None
    assert score(dataset([[A]])).images == 0


def test_only_the_images_that_were_added_count() -> None:
    assert both(score(dataset([[A], [B]]), found([A]))) == ONE


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    score(dataset([[A]]), found([A]))
    assert capsys.readouterr().out == ""


def test_detections_of_no_use_are_refused() -> None:
    with pytest.raises(DataError, match="image 0: a detection's box or score is not finite"):
        score(dataset([[A]]), found([A], [float("nan")]))
    bad = Detections(np.array([A]), np.array([0.5]), np.array([3]), np.zeros((1, 4, 4), bool))
    with pytest.raises(DataError, match=r"a mask of \(4, 4\), but the image is \(300, 400\)"):
        score(dataset([[A]]), bad)
    with pytest.raises(ValueError, match="but scores, labels"):
        Detections(np.array([A]), np.array([0.5, 0.4]), np.array([3]))


def second_opinion(truth: Sequence[Sequence[Box]], images: Sequence[tuple[Sequence[Box], NDArray[np.float64]]]) -> float:
    """COCO's AP of one category from its definition, without crowds."""
    total = sum(map(len, truth))
    means = []
    for threshold in np.linspace(0.5, 0.95, 10):
        hits: list[tuple[float, bool]] = []
        for boxes, (guesses, scores) in zip(truth, images, strict=True):
            free = set(range(len(boxes)))
            for rank in np.argsort(-scores, kind="stable"):
                overlap = {number: _overlap(boxes[number], guesses[rank]) for number in free}
                best = max(overlap, key=overlap.__getitem__, default=None)
                hit = best is not None and overlap[best] >= threshold
                hits.append((float(scores[rank]), hit))
                if hit:
                    free.discard(best)
        hits.sort(key=lambda one: -one[0])
        right = np.cumsum([hit for _, hit in hits])
        precision, recall = right / np.arange(1, len(hits) + 1), right / total
        means.append(np.mean([max(precision[recall >= level], default=0.0) for level in np.linspace(0, 1, 101)]))
    return float(np.mean(means))


def _overlap(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_sets_agree_with_a_second_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth: list[list[Box]] = []
    answers: list[tuple[list[Box], NDArray[np.float64]]] = []
    for _ in range(3):
        boxes = [_random(rng) for _ in range(rng.integers(1, 5))]
        near = [tuple(np.array(box) + rng.normal(0, 8, 4)) for box in boxes if rng.random() < 0.8]
        guesses: list[Box] = [(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)) for x0, y0, x1, y1 in near]
        guesses += [_random(rng) for _ in range(rng.integers(0, 4))]
        truth.append(boxes)
        answers.append((guesses, rng.random(len(guesses))))
    images = [found(guesses, list(scores), masks=False) for guesses, scores in answers]
    result = score(dataset(truth, outlines=False), *images)
    assert result.boxes.ap == pytest.approx(second_opinion(truth, answers), abs=1e-6)


def _random(rng: np.random.Generator) -> Box:
    x0, y0 = rng.uniform(0, 250), rng.uniform(0, 150)
    return float(x0), float(y0), float(x0 + rng.uniform(20, 120)), float(y0 + rng.uniform(20, 120))
