"""Small experiments on data that ships inside packages: protocols, fixed before any result, and what came out, trial by trial.

    digits        which arm recognises scikit-learn's digits how well: the paper's claim that factorized and dot-product attention are
                  equivalent, at the size of an afternoon
    motorcycle    PSMNet on one stereo pair, trained on its left part and tested on its right: a sanity experiment, never a benchmark

A trial is one arm with one seed. Arms with one seed share folds or crops, their order, and all first weights outside the block, so they
are paired. Everything derived (means, intervals, differences) is recomputed from the trials by `fabench.analysis.experiment`.
Nothing here says how fast anything is: `seconds` only tells what a trial took beside whatever else ran.
"""

from __future__ import annotations

from dataclasses import dataclass

from fabench.accuracy import StereoErrors
from fabench.schema import SCHEMA_VERSION, Environment

__all__ = [
    "ARMS", "COMPARISONS", "EXPERIMENTS", "LABELS", "DigitsExperiment", "DigitsProtocol", "DigitsTrial", "Experiment",
    "MotorcycleExperiment", "MotorcycleProtocol", "MotorcycleTrial", "PixelErrors", "Protocol", "StereoReference", "Trial", "missing",
]  # fmt: skip

# What each arm has at the one place that the arms differ in. "pointwise" has as many parameters as the attention blocks, and no attention.
ARMS: dict[str, dict[str, str]] = {
    "digits": {
        "none": "nothing",
        "pointwise": "three 1x1 convolutions, as many parameters as attention",
        "dot_product": "non-local block, softmax form",
        "factorized": "factorized attention, softmax form",
        "dot_product_scaling": "non-local block, scaling form",
        "factorized_scaling": "factorized attention, scaling form: the same function",
    },
    "motorcycle": {
        "none": "nothing",
        "factorized": "factorized attention after layer4",
        "dot_product": "non-local block after layer4",
    },
}
# First arm less second arm, the one that the experiment is about first. Only that one's verdict was planned; no other is a discovery.
COMPARISONS: dict[str, tuple[tuple[str, str], ...]] = {
    "digits": (
        ("factorized", "dot_product"),
        ("factorized", "none"),
        ("factorized", "pointwise"),
        ("dot_product", "none"),
        ("dot_product", "pointwise"),
        ("factorized_scaling", "dot_product_scaling"),
    ),
    "motorcycle": (("factorized", "dot_product"), ("factorized", "none"), ("dot_product", "none")),
}
LABELS = {
    "digits": "small experiment on scikit-learn's digits (1,797 images of 8 x 8), not the paper's data",
    "motorcycle": "single-pair sanity experiment on scikit-image's motorcycle pair at half its size: not Scene Flow, no benchmark",
}
EXPERIMENTS = tuple(ARMS)


@dataclass(frozen=True, slots=True)
class DigitsProtocol:
    """How every arm is trained and tested. Every image is tested once per seed, by a network that was trained on the other folds.

    Folds are consecutive images, as the set lists them by writer: what is tested was hardly ever written by a hand that was seen in
    training. `bound`: a difference of accuracy whose whole 95 % interval lies within +-`bound` is called equivalent.
    `learning_rate` of Adam, rising over the first tenth of the steps and falling to zero by a cosine. `d_k` over all heads; `scale`: see
    `fabench.case.SCALES`. Blocks start as the identity: their last convolution is zero.
    """

    seeds: int = 20
    folds: int = 5
    epochs: int = 8
    batch: int = 64
    learning_rate: float = 1e-2
    channels: int = 16
    d_k: int = 8
    heads: int = 1
    scale: str = "1/n"
    dtype: str = "float64"
    threads: int = 1
    bound: float = 0.005


@dataclass(frozen=True, slots=True)
class DigitsTrial:
    """`fold_correct` of `fold_images` test images were recognised. `wrong`: the numbers of those that were not, in the set's order.

    `test_loss`: mean cross entropy over the test images; `train_loss`: over the last epoch's batches. `parameters`: of one network, with
    its block's `block_parameters`.
    """

    arm: str
    seed: int
    parameters: int
    block_parameters: int
    fold_images: tuple[int, ...]
    fold_correct: tuple[int, ...]
    wrong: tuple[int, ...]
    test_loss: float
    train_loss: float
    seconds: float

    @property
    def accuracy(self) -> float:
        """Share of all images that were recognised."""
        return sum(self.fold_correct) / sum(self.fold_images)


@dataclass(frozen=True, slots=True)
class DigitsExperiment:
    """`results/experiment-digits.json`. `trials` in the order in which they were made; it grows while the experiment runs."""

    protocol: DigitsProtocol
    environment: Environment
    trials: tuple[DigitsTrial, ...] = ()
    name: str = "digits"
    label: str = LABELS["digits"]
    schema: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class MotorcycleProtocol:
    """How every arm is trained and tested. The pair, 500 x 741, is first reduced by `reduction`; all columns and pixels below are of that.

    Training crops lie in columns 0 .. `train_columns` of both views; tests read columns from `train_columns` + `margin` on, of both, so
    no test reads a pixel that training read. A point that training saw in either view is left of `train_columns` + `max_disparity` in the
    left view, so no scene point is in both, for a margin of that size. Tested are pixels whose partner can lie in what is read:
    another `max_disparity` columns further on.
    `bound_px`: a difference of EPE whose whole 95 % interval lies within +-`bound_px` is called equivalent.
    Crops are mirrored top to bottom at random, and the right view's is taken up to `shift` columns further left or right, which moves
    all disparities alike: with one pair to learn from, a network could else learn how far away things of a colour are, and match nothing.
    `steps`: after 160 of them no arm's mean was better than the constant disparity's by more than a pixel: nothing of matching had been compared.
    `learning_rate` of Adam, rising over the first tenth of the steps and falling to zero by a cosine. Blocks start as the identity: their
    last convolution is zero.
    """

    seeds: int = 5
    form: str = "hourglass"
    reduction: int = 2
    max_disparity: int = 32
    train_columns: int = 200
    margin: int = 32
    crop_height: int = 64
    crop_width: int = 96
    shift: int = 4
    batch: int = 2
    steps: int = 600
    learning_rate: float = 1e-3
    d_k: int = 64
    heads: int = 1
    dtype: str = "float32"
    threads: int = 1
    bound_px: float = 0.25

    @property
    def read_from(self) -> int:
        """The first column that a test reads, of both views."""
        return self.train_columns + self.margin

    @property
    def test_from(self) -> int:
        """The first column whose pixels are tested."""
        return self.read_from + self.max_disparity


@dataclass(frozen=True, slots=True)
class PixelErrors:
    """Means of disparity errors over `pixels` pixels."""

    pixels: int
    errors: StereoErrors


@dataclass(frozen=True, slots=True)
class MotorcycleTrial:
    """`all`: over every test pixel with known disparity; `covered`: over those of them that SGBM answers.

    `losses`: the training loss, means of tenths of the steps. `parameters`: of the network, with its block's `block_parameters`.
    """

    arm: str
    seed: int
    parameters: int
    block_parameters: int
    all: PixelErrors
    covered: PixelErrors
    losses: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class StereoReference:
    """A method without training, on the same test pixels. `all` is None where it leaves pixels unanswered: then only `covered` compares.

    `what`: its settings. `coverage`: share of the test pixels with known disparity that it answers.
    """

    name: str
    what: str
    coverage: float
    all: PixelErrors | None
    covered: PixelErrors


@dataclass(frozen=True, slots=True)
class MotorcycleExperiment:
    """`results/experiment-motorcycle.json`. `trials` in the order in which they were made; it grows while the experiment runs."""

    protocol: MotorcycleProtocol
    environment: Environment
    references: tuple[StereoReference, ...] = ()
    trials: tuple[MotorcycleTrial, ...] = ()
    name: str = "motorcycle"
    label: str = LABELS["motorcycle"]
    schema: int = SCHEMA_VERSION


Protocol = DigitsProtocol | MotorcycleProtocol
Trial = DigitsTrial | MotorcycleTrial
Experiment = DigitsExperiment | MotorcycleExperiment


def missing(experiment: Experiment) -> tuple[tuple[str, int], ...]:
    """The (arm, seed) that the protocol asks for and that have no trial yet, in the order in which they are made: seed by seed."""
    made = {(trial.arm, trial.seed) for trial in experiment.trials}
    wanted = ((arm, seed) for seed in range(experiment.protocol.seeds) for arm in ARMS[experiment.name])
    return tuple(key for key in wanted if key not in made)
