"""PSMNet on scikit-image's motorcycle pair: trained on the left part, tested on the right one. One pair: a sanity experiment, no benchmark.

    columns     0 .. train_columns     margin      read_from .. test_from      test_from .. the last
    both views  training crops         never read  read by the test            read and tested (left view)

See `fabench.trials.MotorcycleProtocol` for why no tested point was seen in training. Training sees the training part alone and a test
the test part alone, as images of their own: what lies beyond their edges can't reach them through any convolution.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fabench.data.packaged import stereo_motorcycle
from fabench.data.stereo import StereoPair
from fabench.errors import UsageError
from fabench.experiment.training import trained
from fabench.metrics.stereo import DisparityScore, Floats
from fabench.models import stereo
from fabench.models.insertion import parameters_added
from fabench.models.psmnet.network import PSMNet
from fabench.positions import Attention
from fabench.train.losses import StereoBatch, StereoLoss
from fabench.trials import ARMS, MotorcycleProtocol, MotorcycleTrial, PixelErrors, StereoReference

__all__ = ["Corner", "Parts", "batches", "build", "corners", "parts", "reduced", "references", "tested", "trial"]

_REPORTS = 10
_SGBM_BLOCK = 5


class Parts(NamedTuple):
    """Two cuts through the pair, both views at the same columns, each a pair of its own."""

    training: StereoPair
    test: StereoPair


def reduced(pair: StereoPair, by: int) -> StereoPair:
    """The pair with `by` x `by` pixels made one, the rest at the right and lower edges left out: colours and disparities averaged.

    The disparity, in the new pixels, is unknown where one of them is unknown, or where they differ by more than a new pixel: at the edge
    of a thing their mean is the disparity of nothing.
    """
    height, width = (side // by for side in pair.disparity.shape)

    def squares(values: NDArray[np.generic]) -> NDArray[np.float64]:
        cut = values[: height * by, : width * by].astype(np.float64).reshape(height, by, width, by, -1)
        return cut.swapaxes(1, 2).reshape(height, width, by * by, -1)

    left, right = (np.rint(squares(view).mean(axis=2)).astype(np.uint8) for view in (pair.left, pair.right))
    disparities = squares(pair.disparity)[..., 0] / by
    disparity = np.where(np.ptp(disparities, axis=2) <= 1, disparities.mean(axis=2), np.nan).astype(np.float32)
    return StereoPair(pair.name, left, right, disparity)


def _pair(protocol: MotorcycleProtocol) -> StereoPair:
    return reduced(stereo_motorcycle(), protocol.reduction)


def parts(pair: StereoPair, protocol: MotorcycleProtocol) -> Parts:
    """Training columns, and those that a test reads. Raises UsageError where nothing is left to test, or a scene point could be in both."""
    if protocol.margin < protocol.max_disparity:
        raise UsageError(
            f"margin is {protocol.margin}, below {protocol.max_disparity}: points of the test could be seen in training"
        )
    if protocol.test_from >= pair.left.shape[1]:
        raise UsageError(
            f"tests begin at column {protocol.test_from}, but the pair has {pair.left.shape[1]}: take less for training"
        )
    return Parts(*(_cut(pair, columns) for columns in (slice(0, protocol.train_columns), slice(protocol.read_from, None))))


def _cut(pair: StereoPair, columns: slice) -> StereoPair:
    left, right = (values[:, columns].copy() for values in (pair.left, pair.right))
    return StereoPair(pair.name, left, right, pair.disparity[:, columns].copy())


class Corner(NamedTuple):
    """Where a training crop begins in the training part: in the left view, and `shift` columns further right in the right view; and
    whether both are mirrored top to bottom."""

    row: int
    column: int
    shift: int
    mirrored: bool


def corners(size: tuple[int, int], protocol: MotorcycleProtocol, seed: int) -> list[list[Corner]]:
    """The crops of every step, decided by the seed alone, from a part of `size` (height, width). Raises UsageError for one too small."""
    height, width = protocol.crop_height, protocol.crop_width
    if size[0] < height or size[1] < width + protocol.shift:
        needed = f"{height}x{width}, moved by up to {protocol.shift}"
        raise UsageError(f"crops are {needed}, but the training part is only {size[0]}x{size[1]}")
    draw = np.random.default_rng(seed)

    def corner() -> Corner:
        shift = int(draw.integers(-protocol.shift, protocol.shift, endpoint=True))
        column = int(draw.integers(max(0, -shift), size[1] - width - max(0, shift), endpoint=True))
        return Corner(int(draw.integers(size[0] - height, endpoint=True)), column, shift, bool(draw.integers(2)))

    return [[corner() for _ in range(protocol.batch)] for _ in range(protocol.steps)]


def batches(part: StereoPair, protocol: MotorcycleProtocol, seed: int) -> Iterator[StereoBatch]:
    """The training batches, one a step."""
    left, right = (stereo.normalise(_image(view)) for view in (part.left, part.right))
    disparity = torch.from_numpy(part.disparity)
    height, width = part.disparity.shape
    for chosen in corners((height, width), protocol, seed):
        crops = [
            (_crop(left, at, 0, protocol), _crop(right, at, at.shift, protocol), _moved(_crop(disparity, at, 0, protocol), at.shift))
            for at in chosen
        ]  # fmt: skip
        yield StereoBatch(*(torch.stack(values) for values in zip(*crops, strict=True)))


def _image(view: NDArray[np.uint8]) -> torch.Tensor:
    """[H, W, 3] 8 bit -> [3, H, W] in 0..1."""
    return torch.from_numpy(view).permute(2, 0, 1).float() / 255


def _crop(values: torch.Tensor, at: Corner, shift: int, protocol: MotorcycleProtocol) -> torch.Tensor:
    """[..., H, W] -> [..., crop_height, crop_width]."""
    column = at.column + shift
    found = values[..., at.row : at.row + protocol.crop_height, column : column + protocol.crop_width]
    return found.flip(-2) if at.mirrored else found


def _moved(disparity: torch.Tensor, shift: int) -> torch.Tensor:
    """Disparities when the right view begins `shift` columns further right; NaN where partners would lie to the right of their points."""
    moved = disparity + shift
    return moved.where(moved >= 0, torch.nan)


def build(arm: str, protocol: MotorcycleProtocol, seed: int) -> PSMNet:
    """The arm's network. Networks of one seed are equal outside the block, and at first compute the same."""
    if arm not in ARMS["motorcycle"]:
        raise UsageError(f"{arm[:40]!r} is no arm; there are {', '.join(ARMS['motorcycle'])}")
    attention = Attention("factorized" if arm == "none" else arm, protocol.d_k, protocol.heads, identity=True)
    return stereo.build(
        "none" if arm == "none" else "layer4", attention, form=protocol.form, max_disparity=protocol.max_disparity,
        crop=(protocol.crop_height, protocol.crop_width), seed=seed, dtype=protocol.dtype,
    )  # fmt: skip


def trial(
    arm: str, seed: int, protocol: MotorcycleProtocol, progress: Callable[[float], None] = lambda share: None
) -> MotorcycleTrial:
    """Trains the arm and tests it. `progress` is told the share that is done. Raises DataError where the pair is not there."""
    began = time.monotonic()
    torch.set_num_threads(protocol.threads)
    training, test = parts(_pair(protocol), protocol)
    network = build(arm, protocol, seed)
    parameters, added = sum(parameter.numel() for parameter in network.parameters()), parameters_added(network)
    losses: list[float] = []
    objective = StereoLoss(protocol.max_disparity)
    for loss in trained(network, batches(training, protocol, seed), protocol.steps, objective, protocol.learning_rate):
        losses.append(loss)
        if len(losses) % max(1, protocol.steps // _REPORTS) == 0 and len(losses) < protocol.steps:
            progress(len(losses) / protocol.steps)
    predicted = _predicted(network.eval(), test)
    truth = tested(test, protocol)
    covered = np.where(np.isfinite(_sgbm(test, protocol)), truth, np.float32(np.nan))
    made = MotorcycleTrial(
        arm=arm, seed=seed, parameters=parameters, block_parameters=added, all=_errors(predicted, truth),
        covered=_errors(predicted, covered), losses=_tenths(losses), seconds=time.monotonic() - began,
    )  # fmt: skip
    progress(1.0)
    return made


def _tenths(losses: list[float]) -> tuple[float, ...]:
    return tuple(float(np.mean(part)) for part in np.array_split(losses, min(len(losses), _REPORTS)))


def _predicted(network: PSMNet, part: StereoPair) -> NDArray[np.float32]:
    left, right = (_image(view)[None] for view in (part.left, part.right))
    return stereo.predict(network, left, right)[0].numpy()


def tested(part: StereoPair, protocol: MotorcycleProtocol) -> NDArray[np.float32]:
    """The test part's disparity where it is tested, NaN elsewhere: in columns whose partners can't all lie in what is read."""
    truth = part.disparity.copy()
    truth[:, : protocol.test_from - protocol.read_from] = np.nan
    return truth


def _errors(predicted: Floats, truth: NDArray[np.float32]) -> PixelErrors:
    score = DisparityScore(max_disparity=None)
    score.add(["motorcycle"], [predicted], [truth])
    found = score.result()
    assert found.per_pixel is not None
    return PixelErrors(found.pixels, found.per_pixel)


def references(protocol: MotorcycleProtocol) -> list[StereoReference]:
    """OpenCV's semi-global matching, and the training part's median disparity everywhere, on the pixels that the networks are tested on."""
    training, test = parts(_pair(protocol), protocol)
    truth, answer = tested(test, protocol), _sgbm(test, protocol)
    known, answered = np.isfinite(truth), np.isfinite(answer)
    coverage = float((known & answered).sum() / known.sum())
    covered = np.where(answered, truth, np.float32(np.nan))
    median = float(np.nanmedian(training.disparity))
    constant = np.full_like(truth, median)
    sgbm = f"OpenCV {cv2.__version__} StereoSGBM, {protocol.max_disparity} disparities, blocks of {_SGBM_BLOCK}, untrained"
    return [
        StereoReference("sgbm", sgbm, coverage, None if coverage < 1 else _errors(answer, truth), _errors(answer, covered)),
        StereoReference(
            "constant", f"{median:.2f} px, the median of the training part, everywhere", 1.0,
            _errors(constant, truth), _errors(constant, covered),
        ),
    ]  # fmt: skip


def _sgbm(part: StereoPair, protocol: MotorcycleProtocol) -> NDArray[np.float32]:
    """Disparities of OpenCV's semi-global matching with the penalties that its manual proposes, NaN where it gives none."""
    cv2.setNumThreads(protocol.threads)
    area = 3 * _SGBM_BLOCK**2
    matcher = cv2.StereoSGBM.create(
        minDisparity=0, numDisparities=protocol.max_disparity, blockSize=_SGBM_BLOCK, P1=8 * area, P2=32 * area, uniquenessRatio=10
    )  # fmt: skip
    left, right = (np.ascontiguousarray(view[:, :, ::-1]) for view in (part.left, part.right))
    found = matcher.compute(left, right).astype(np.float32) / 16
    return np.where(found > 0, found, np.float32(np.nan))
