"""Whole networks as cells, at toy sizes: they end ok with a check of each block, and wrong, too large or missing parts end as what they are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from fabench import position_cost, positions
from fabench.attention import base
from fabench.devices.cpu import Device
from fabench.measure import cell, inputs, network, network_check
from fabench.models import detection, insertion
from fabench.models.insertion import blocks_of
from fabench.positions import Attention, network_case
from fabench.schema import Case, Cell, Job, Measure, Record, from_json, to_json

QUICK = Measure(warmup_max_s=0.0, max_s=0.0, min_samples=1, min_sample_s=1e-5, threads=1)
PAIR = (64, 128)
IMAGE = (64, 96)


def case_of(task: str, words: str, mode: str = "fwd", **options: Any) -> Case:
    batch = 2 if (task, mode) == ("stereo", "fwd_bwd") else 1  # batch norm needs two values of a channel
    given: dict[str, Any] = {"d_k": 16} | {name: options.pop(name) for name in ("heads", "d_k", "pool") if name in options}
    size = PAIR if task == "stereo" else IMAGE
    return network_case(task, words, Attention(**given), *size, batch=batch, mode=mode, **options)


def run(implementation: str, case: Case, measure: Measure = QUICK) -> Record:
    record = cell.run(Job(Cell(implementation, "cpu", case), measure), lambda name: None)
    assert from_json(Record, to_json(record)) == record
    return record


@pytest.fixture(autouse=True)
def few_proposals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mask R-CNN's heads take seconds for a thousand proposals, whatever the image."""
    real = detection.build

    def build(*given: Any, **options: Any) -> Any:
        made = real(*given, **options)
        made.rpn._post_nms_top_n = {"training": 64, "testing": 32}
        made.roi_heads.detections_per_img = 4
        made.roi_heads.fg_bg_sampler.batch_size_per_image = 64
        return made

    monkeypatch.setattr(detection, "build", build)


def names(record: Record) -> list[str]:
    assert record.check is not None
    return [error.name for error in record.check.tensors]


def require_torchvision() -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed (the extra `models`)")


def test_stereo_ends_ok_and_its_ledger_closes() -> None:
    record = run("dot_product", case_of("stereo", "layer4"))
    assert (record.status, record.reason) == ("ok", None)
    assert names(record) == ["layer4", "layer4 again"]  # both views
    assert record.memory is not None and record.memory.ledger is not None and record.timing is not None
    assert record.memory.ledger.residual_bytes == 0
    assert record.memory.output_bytes == 4 * 64 * 128
    assert record.memory.input_bytes >= 4 * (2 * 3 * 64 * 128 + 5_224_768)
    assert record.memory.saved_bytes is None and record.configuration is None


@pytest.mark.parametrize("words", ["none", "all"])
def test_detection_ends_ok_and_its_ledger_closes(words: str) -> None:
    require_torchvision()
    record = run("none" if words == "none" else "factorized", case_of("detection", words))
    assert (record.status, record.reason) == ("ok", None)
    assert names(record) == ([] if words == "none" else ["res3", "res4", "fpn1", "fpn2", "fpn3", "fpn4", "fpn5"])
    assert record.memory is not None and record.memory.ledger is not None
    assert record.memory.ledger.residual_bytes == 0
    assert (record.function, record.time_order) == ((None, None) if words == "none" else ("factorized softmax attention", 1))


def test_a_step_of_training_checks_gradients_of_the_blocks() -> None:
    record = run("factorized", case_of("stereo", "layer4", "fwd_bwd"))
    assert (record.status, record.reason) == ("ok", None)
    found = names(record)
    assert found[:2] == ["layer4", "layer4.dx"] and "layer4.dkeys.weight" in found and "layer4 again.dx" in found
    assert record.memory is not None and record.memory.ledger is not None
    assert record.memory.ledger.residual_bytes == 0
    assert record.memory.saved_bytes is not None and record.memory.saved_bytes > 0
    assert record.memory.ledger.given_bytes == 4 * 2 * 64 * 128 + 4  # the true disparities, and the loss's own gradient


def test_detections_losses_are_trained_on() -> None:
    require_torchvision()
    record = run("dot_product", case_of("detection", "fpn3", "fwd_bwd"))
    assert (record.status, record.reason) == ("ok", None)
    assert {"fpn3", "fpn3.dx", "fpn3.dreprojection.weight"} <= set(names(record))
    assert record.memory is not None and record.memory.ledger is not None
    assert record.memory.ledger.residual_bytes == 0


def test_blocks_add_the_products_that_arithmetic_knows() -> None:
    """The rest is the same, so counted FLOPs differ by the blocks' own."""
    bare = run("none", case_of("stereo", "none"), Measure(check_only=True, threads=1))
    assert bare.flop == pytest.approx(64 * 128 * 2_818_229.25, rel=1e-4)  # counted at 256 x 512, on shapes alone
    for name, order in (("factorized", 1), ("dot_product", 2)):
        case = case_of("stereo", "layer4", heads=2)
        found = run(name, case, Measure(check_only=True, threads=1))
        assert found.flop is not None and bare.flop is not None
        assert found.flop - bare.flop == position_cost.of_network(case, order, order).flop


@contextmanager
def planted(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Lets every block inside a network answer with what `change` makes of its core's result."""
    real = base.load

    class _Module:
        def __init__(self, implementation: base.Implementation) -> None:
            self._implementation = implementation

        def supports(self, case: Case, device: str) -> str | None:
            return self._implementation.supports(case, device)

        def prepare(self, case: Case, device: str) -> base.Core:
            core = self._implementation.prepare(case, device)
            return lambda q, k, v, padding: change(core(q, k, v, padding))

    with monkeypatch.context() as patched:
        patched.setattr(insertion, "load", lambda name: base.Implementation(real(name).facts, _Module(real(name))))  # type: ignore[arg-type]
        yield


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda out: out * 1.01, "layer4 is off float64"),
        (torch.zeros_like, "layer4 is off float64"),
        (lambda out: out.index_fill(2, torch.tensor([7]), torch.nan), "have NaN or Inf"),
        (lambda out: out.flip(2), "layer4 is off float64"),
    ],
)
def test_a_wrong_core_inside_a_network_is_incorrect_and_never_timed(
    change: Callable[[torch.Tensor], torch.Tensor], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with planted(monkeypatch, change):
        record = run("factorized", case_of("stereo", "layer4"))
    assert record.status == "incorrect"
    assert record.reason is not None and words in record.reason
    assert record.timing is None and record.memory is None


class _WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * 1.01


def test_a_wrong_gradient_inside_a_network_is_incorrect(monkeypatch: pytest.MonkeyPatch) -> None:
    with planted(monkeypatch, _WrongGradient.apply):
        record = run("factorized", case_of("stereo", "layer4", "fwd_bwd"))
    assert record.status == "incorrect"
    assert record.reason is not None and record.reason.startswith("layer4.d")


def test_without_torchvision_detection_is_unsupported_and_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchvision.models.detection", None)
    record = run("none", case_of("detection", "none"))
    assert record.status == "unsupported"
    assert record.reason is not None and "pip install 'fabench[models]'" in record.reason
    assert run("none", case_of("stereo", "none"), Measure(check_only=True, threads=1)).status == "ok"


def test_what_an_implementation_cannot_do_in_a_network_is_unsupported() -> None:
    record = run("triton_factorized", case_of("stereo", "layer4"))
    assert record.status == "unsupported"
    assert record.reason is not None and "layer4" in record.reason
    one = run("factorized", case_of("stereo", "layer4", d_k=1))
    assert (one.status, "one key channel per head" in str(one.reason)) == ("unsupported", True)
    core = run("none", Case(n=64, m=64))
    assert (core.status, core.reason) == ("unsupported", "none is a network without attention, and this is no network")


def test_an_operator_that_lacks_the_dtype_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*given: Any, **options: Any) -> Any:
        raise RuntimeError("\"nms_kernel\" not implemented for 'BFloat16'")

    monkeypatch.setattr(detection, "build", build)
    assert run("none", case_of("detection", "none", dtype="bfloat16")).status == "unsupported"


def test_inference_meets_maps_of_the_size_of_one() -> None:
    """Statistics as training leaves them; without them PSMNet's maps reach 1e5 and every softmax is a choice of one."""
    case = case_of("stereo", "layer4")
    given = inputs.make(case, QUICK, torch.device("cpu"))
    seen: list[float] = []
    subject = network.build(case, "factorized", given)
    (block,) = blocks_of(subject.network).values()
    block.register_forward_hook(lambda module, x, out: seen.append(float(x[0].std())))
    subject.call()()
    assert all(0.1 < size < 10 for size in seen)


def test_networks_are_the_same_for_every_implementation() -> None:
    case = case_of("stereo", "layer4")
    given = inputs.make(case, QUICK, torch.device("cpu"))
    first, second = (network.build(case, name, given).network.state_dict() for name in ("factorized", "dot_product"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_calls_repeat_each_other_and_copies_share_nothing() -> None:
    require_torchvision()
    case = case_of("detection", "fpn5", "fwd_bwd")
    subject = network.build(case, "factorized", inputs.make(case, QUICK, torch.device("cpu")))
    once, again, copied = subject.call()(), subject.call()(), subject.another()()
    assert all(torch.allclose(one, two, rtol=1e-4, atol=1e-6) for one, two in zip(once, again, strict=True))
    assert len(copied) == len(once)
    assert subject.upstream() is not None and subject.output_bytes == 4


def test_sites_are_in_the_networks_order_with_their_own_cases() -> None:
    require_torchvision()
    case = case_of("detection", "all")
    subject = network.build(case, "factorized", inputs.make(case, QUICK, torch.device("cpu")))
    assert [(site.position, site.case) for site in subject.sites] == list(positions.blocks(case))
    seen: dict[str, tuple[int, ...]] = {}
    for site in subject.sites:
        site.block.register_forward_hook(lambda block, x, out, name=site.position.name: seen.update({name: tuple(x[0].shape)}))
    subject.call()()
    assert seen == {site.position.name: (1, site.position.channels, *site.case.dimensions) for site in subject.sites}


def test_the_first_pass_leaves_the_network_as_it_was() -> None:
    case = case_of("stereo", "layer4")
    subject = network.build(case, "factorized", inputs.make(case, QUICK, torch.device("cpu")))
    (site,) = subject.sites
    core = site.block.core
    found = network_check.first_pass(subject, Device("cpu"), "factorized softmax attention", False, lambda name: None)
    assert found.reason is None and site.block.core is core
    assert not site.block._forward_hooks and not site.block._forward_pre_hooks
