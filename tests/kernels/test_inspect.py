"""The kernels' machine code for GPUs that are not here: what is read from it, when it is at fault, and the gate that holds it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fabench.analysis.sheets import GPUS, bound_s, faults, issue_s, worse
from fabench.codec import decode
from fabench.inspect.binary import amd, nvidia, occupancy
from fabench.schema import Case, from_json
from fabench.sheet import KernelSheet, SheetFile

BASELINE = Path(__file__).parents[2] / "results" / "kernels.json"
SHEET = KernelSheet(
    "triton_factorized", "attend", "sm_90", "bfloat16", "ieee", 64, 64, 4096, 32, 128, 10**8, 10**8, 10**9, registers=90, stack_bytes=0,
    spills=0, shared_bytes=24_576, shared_limit_bytes=232_448, occupancy=0.3, tensor_instructions=4, loads=18, wide_loads=16, stores=4,
    wide_stores=4, loop_instructions=500, loop_positions=64, warps=4, walked=4096 * 32, binary_sha="0" * 16,
)  # fmt: skip

SASS = """
.text.kernel:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/              @!P0 LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0020*/                   LDGSTS.E.BYPASS.128 [R7], desc[UR4][R2.64] ;
        /*0030*/                   LDG.E R5, desc[UR4][R2.64] ;
        /*0040*/                   HMMA.16816.F32.BF16 R8, R4, R6, R8 ;
        /*0050*/                   STL [R1], R3 ;
        /*0060*/               @P1 BRA `(.L_x_1) ;
        /*0070*/                   STG.E.128 desc[UR4][R2.64], R4 ;
        /*0080*/                   EXIT ;
.L_x_2:
        /*0090*/                   BRA `(.L_x_2) ;
"""
RESOURCES = " Function kernel:\n  REG:90 STACK:8 SHARED:0 LOCAL:0 CONSTANT[0]:640 TEXTURE:0\n"
GCN = """
kernel:
	s_load_dwordx2 s[0:1], s[4:5], 0x0
.LBB0_1:
	global_load_dwordx4 v[0:3], v4, s[0:1]
	global_load_dword v5, v4, s[0:1]
	v_mfma_f32_32x32x8_bf16_1k a[0:15], v[0:1], v[2:3], a[0:15]
	s_cbranch_scc1 .LBB0_1
	global_store_dwordx4 v4, v[0:3], s[0:1]
	s_endpgm
    .private_segment_fixed_size: 0
    .vgpr_count:     122
    .vgpr_spill_count: 3
"""


def test_sass_is_read() -> None:
    assert nvidia(RESOURCES, SASS) == {
        "registers": 90, "stack_bytes": 8, "spills": 1, "tensor_instructions": 1, "loads": 3, "wide_loads": 2, "stores": 1, "wide_stores": 1,
        "loop_instructions": 6,
    }  # fmt: skip


WAITING = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0020*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR6], R3 ;
        /*0030*/              @!P0 BRA `(.L_x_9) ;
.L_x_2:
        /*0040*/                   UTCHMMA gdesc[UR8], gdesc[UR10], tmem[UR12] ;
        /*0050*/                   BRA.U UP1, `(.L_x_1) ;
        /*0060*/               @P2 BRA `(.L_x_7) ;
        /*0070*/                   STG.E.128 desc[UR4][R2.64], R4 ;
        /*0080*/                   EXIT ;
.L_x_7:
        /*0090*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
        /*00a0*/                   FMNMX R4, R4, R5, !PT ;
        /*00b0*/                   FMUL R4, R4, R5 ;
        /*00c0*/                   FMUL R5, R4, R5 ;
        /*00d0*/                   FMUL R6, R4, R5 ;
        /*00e0*/                   FMUL R7, R4, R5 ;
        /*00f0*/                   FMUL R8, R4, R5 ;
        /*0100*/                   UTCHMMA gdesc[UR8], gdesc[UR10], tmem[UR12] ;
        /*0110*/               @P3 BRA `(.L_x_7) ;
        /*0120*/                   EXIT ;
.L_x_9:
        /*0130*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR6], R3 ;
        /*0140*/              @!P0 BRA `(.L_x_9) ;
        /*0150*/                   BRA `(.L_x_2) ;
.L_x_10:
        /*0160*/                   BRA `(.L_x_10) ;
"""


def test_a_wait_out_of_line_belongs_to_the_loop_that_waits_and_a_fallback_does_not() -> None:
    """From the loop's head to what jumps back into it lie 20 instructions, of which the loop has 8, three of them its wait."""
    assert nvidia(RESOURCES, WAITING)["loop_instructions"] == 8


def test_code_without_a_loop_has_none() -> None:
    assert nvidia(RESOURCES, "/*0000*/ LDC R1, c[0x0][0x28] ;\n /*0010*/ EXIT ;")["loop_instructions"] is None


def test_amd_assembly_is_read() -> None:
    assert amd(GCN) == {
        "registers": 122, "stack_bytes": 0, "spills": 3, "tensor_instructions": 1, "loads": 2, "wide_loads": 1, "stores": 1, "wide_stores": 1,
        "loop_instructions": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "registers", "shared", "warps", "share"),
    [
        ("sm_80", 64, 0, 4, 0.5),  # 65,536 registers / (64 x 32) = 32 of 64 warps
        ("sm_80", 32, 0, 4, 1.0),
        ("sm_80", 32, 83_000, 4, 4 / 64),  # 164 KiB hold one program of 83,000 + 1,024 bytes, and not two
        ("sm_90", 255, 0, 8, 8 / 64),  # rounded up to 8,192 registers a warp: 8 warps
        ("sm_120", 40, 0, 4, 1.0),
        ("gfx942", 128, 0, 4, 0.5),  # 512 / 128 = 4 of 8 waves
        ("gfx942", 32, 65_536, 4, 1 / 8),
        ("sm_99", 32, 0, 4, None),
    ],
)
def test_occupancy(target: str, registers: int, shared: int, warps: int, share: float | None) -> None:
    assert occupancy(target, registers, shared, warps) == share


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spills": 3}, "spills registers"),
        ({"stack_bytes": 8}, "spills registers"),
        ({"shared_bytes": 300_000}, "300,000 bytes of shared memory, sm_90 gives 232,448"),
        ({"tensor_instructions": 0}, "no tensor cores"),
        ({"wide_loads": 0}, "nothing 128 bits wide"),
        ({"reason": "out of registers"}, "does not compile: out of registers"),
    ],
)
def test_faults(change: dict[str, object], words: str) -> None:
    assert faults(SHEET) == []
    assert any(words in fault for fault in faults(replace(SHEET, **change)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spills": 2}, "spilling instructions: 0 -> 2"),
        ({"tensor_instructions": 0}, "tensor-core instructions: 4 -> none"),
        ({"wide_loads": 0}, "128-bit loads: 16 -> none"),
        ({"occupancy": 0.25}, "occupancy: 30% -> 25%"),
        ({"shared_bytes": 24_577}, "bytes of shared memory: 24,576 -> 24,577"),
        ({"read_bytes": 10**8 + 1}, "bytes read"),
        ({"loop_instructions": 600}, "instructions issued for a position: 31.2 -> 37.5"),
        ({"reason": "x"}, "no longer compiles"),
    ],
)
def test_worse(change: dict[str, object], words: str) -> None:
    changed = replace(SHEET, **change)  # type: ignore[arg-type]
    assert worse(SHEET, SHEET) == []
    assert any(words in line for line in worse(SHEET, changed))
    if "reason" not in change:
        assert worse(changed, SHEET) == []  # what gets better is fine


def test_the_bound_is_bytes_over_bandwidth_or_products_over_rate() -> None:
    gpu = next(one for one in GPUS if one.name == "H100 SXM")
    assert bound_s(SHEET, gpu) == 2e8 / gpu.bytes_per_s
    assert bound_s(replace(SHEET, flop=10**15), gpu) == 1e15 / gpu.half_flop_per_s


def test_issue_is_instructions_over_schedulers_and_clock() -> None:
    gpu = next(one for one in GPUS if one.name == "H100 SXM")
    assert gpu.issue_per_s is not None
    assert issue_s(SHEET, gpu) == pytest.approx(500 * 4 / 64 * 4096 * 32 / gpu.issue_per_s)
    for unknown in ({"loop_instructions": None}, {"nested": True}, {"walked": 0}, {"walked": None}):
        assert issue_s(replace(SHEET, **unknown), gpu) is None
    assert issue_s(SHEET, next(one for one in GPUS if one.name == "MI300X")) is None


def inspect(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fabench", "inspect", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "dtype"), [("sm_80", "bf16"), ("sm_90", "tf32"), ("gfx942", "bf16")])
def test_no_kernel_is_worse_than_the_baseline(target: str, dtype: str) -> None:
    done = inspect("--target", target, "--dtype", dtype, "--d", "64", "--baseline", str(BASELINE), "--fail-on-worse")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 kernels, none worse" in done.stderr


@pytest.mark.slow
def test_the_gate_fails_where_a_kernel_got_worse(tmp_path: Path) -> None:
    held = from_json(SheetFile, BASELINE.read_bytes())
    better = replace(held, sheets=tuple(replace(one, shared_bytes=max(0, (one.shared_bytes or 0) - 16)) for one in held.sheets))
    path = tmp_path / "better.json"
    from fabench.codec import encode

    path.write_text(encode(better))
    done = inspect("--target", "sm_90", "--d", "64", "--mode", "fwd", "--baseline", str(path), "--fail-on-worse", "--json")
    assert done.returncode == 1, done.stderr
    assert "bytes of shared memory" in done.stderr
    assert [decode(KernelSheet, json.loads(line)).kernel for line in done.stdout.splitlines()] == [
        "key_contexts",
        "combine_contexts",
        "attend",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "dtype"), [("sm_120", "bf16"), ("sm_90", "tf32")])
def test_nothing_that_tuning_may_choose_spills(target: str, dtype: str) -> None:
    done = inspect("--candidates", "--target", target, "--dtype", dtype, "--d", "64", "--json")
    assert done.returncode == 0, done.stderr
    sheets = [decode(KernelSheet, json.loads(line)) for line in done.stdout.splitlines()]
    assert {one.kernel for one in sheets} == {"key_contexts", "attend", "query_gradients", "key_gradients"}
    assert [fault for one in sheets for fault in faults(one)] == []


@pytest.mark.slow
def test_lost_alignment_is_a_fault() -> None:
    done = inspect("--target", "sm_90", "--d", "33", "--mode", "fwd")
    assert done.returncode == 1
    assert "reads nothing 128 bits wide" in done.stderr


@pytest.mark.slow
def test_40_channels_keep_their_wide_loads() -> None:
    done = inspect("--target", "sm_90", "--d", "40", "--json")
    assert done.returncode == 0, done.stderr
    assert all(json.loads(line)["wide_loads"] for line in done.stdout.splitlines())


RUNNING_MAXIMUM = """
import sys
from fabench.kernels.factorized import plan
plan.ISSUE_BOUND = frozenset()
sys.argv = ["server"]
from fabench.inspect.server import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sm_90", "sm_100"])
def test_the_optimistic_walk_takes_far_fewer_issue_slots_than_a_running_maximum(target: str) -> None:
    from fabench.codec import encode

    case = Case(n=65536, m=65536, batch=4, heads=8, d_k=64, d_v=64, dtype="bfloat16")
    request = encode({"implementation": "triton_factorized", "target": target, "precision": "ieee", "cases": [case]})
    slots = []
    for code in ("from fabench.inspect.server import main; main()", RUNNING_MAXIMUM):
        done = subprocess.run(
            [sys.executable, "-c", code], input=request, capture_output=True, text=True, timeout=300, check=True
        )
        sheets = [
            decode(KernelSheet, line["value"]) for line in map(json.loads, done.stdout.splitlines()) if line["event"] == "sheet"
        ]
        slots.append(next(one.slots_per_position for one in sheets if one.kernel == "key_contexts"))
    assert slots[0] is not None and slots[1] is not None
    assert slots[0] <= 0.65 * slots[1], slots


PLANTED = """
import sys
from fabench.kernels.factorized import plan, tilings
right = plan.tiling
plan.tiling = lambda kernel, shape, target: tilings.Tiling({tiling}) if kernel == "{kernel}" else right(kernel, shape, target)
sys.argv = ["server"]
from fabench.inspect.server import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "tiling", "words"),
    [("key_contexts", "128, 128, 128, 4, 2", "spills registers"), ("attend", "128, 128, 128, 8, 8", "bytes of shared memory")],
    ids=["a spilling tile", "too much shared memory"],
)
def test_a_planted_tile_is_a_fault(kernel: str, tiling: str, words: str) -> None:
    from fabench.codec import encode

    case = Case(n=65536, m=65536, batch=4, heads=8, d_k=128, d_v=128, dtype="bfloat16")
    request = encode({"implementation": "triton_factorized", "target": "sm_80", "precision": "ieee", "cases": [case]})
    code = PLANTED.format(tiling=tiling, kernel=kernel)
    done = subprocess.run([sys.executable, "-c", code], input=request, capture_output=True, text=True, timeout=300, check=True)
    sheets = [
        decode(KernelSheet, line["value"]) for line in map(json.loads, done.stdout.splitlines()) if line["event"] == "sheet"
    ]
    assert any(words in fault for one in sheets if one.kernel == kernel for fault in faults(one))


def test_float32_in_full_precision_has_no_tensor_cores() -> None:
    held = from_json(SheetFile, BASELINE.read_bytes())
    full = [
        one
        for one in held.sheets
        if one.dtype == "float32" and one.precision == "ieee" and one.flop and one.target.startswith("sm")
    ]
    assert full and not any(one.tensor_instructions for one in full)
    rounded = [one for one in held.sheets if one.precision == "tf32" and one.flop]
    assert rounded and all(one.tensor_instructions for one in rounded)


def test_the_baseline_has_no_fault() -> None:
    held = from_json(SheetFile, BASELINE.read_bytes())
    assert {one.target for one in held.sheets} >= {"sm_80", "sm_90", "sm_100", "sm_120", "gfx942"}
    assert [fault for one in held.sheets for fault in faults(one)] == []
