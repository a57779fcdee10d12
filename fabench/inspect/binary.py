"""Reads machine code: registers, spills, tensor-core and wide instructions, loops. Pure functions of a disassembler's text.

NVIDIA: `cuobjdump --dump-resource-usage` and `nvdisasm -c`. AMD: the assembly that Triton keeps, with its metadata.
"""

from __future__ import annotations

import re

__all__ = ["amd", "nvidia", "occupancy"]

Facts = dict[str, int | None]

_SASS = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)(.*)")
_SASS_LABEL = re.compile(r"^\s*(\.L\w*):")
_SASS_TENSOR = re.compile(r"^(HMMA|HGMMA|QMMA|DMMA|OMMA|UTC\w*MMA)")
_GCN_LABEL = re.compile(r"^(\.LBB\w+):")
_GCN = re.compile(r"^\s+([a-z]\w+)(.*)")


def _largest_loop(code: list[tuple[str, str]], labels: dict[str, int]) -> int | None:
    """Instructions between a label and the last jump back to it, of the loop that has most."""
    spans = [
        index - labels[label] + 1
        for index, (opcode, rest) in enumerate(code)
        if opcode.startswith(("BRA", "s_cbranch", "s_branch"))
        for label in re.findall(r"\.L\w+", rest)
        if labels.get(label, index + 1) <= index
    ]
    # A jump to itself ends a program's code: no loop.
    return max((span for span in spans if span > 2), default=None)


def _lines(text: str, instruction: re.Pattern[str], label: re.Pattern[str]) -> tuple[list[tuple[str, str]], dict[str, int]]:
    code: list[tuple[str, str]] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if found := label.match(line):
            labels[found[1]] = len(code)
        elif found := instruction.search(line):
            code.append((found[1], found[2]))
    return code, labels


def nvidia(resources: str, sass: str) -> Facts:
    """Facts of one kernel from its resource usage and its disassembly."""
    code, labels = _lines(sass, _SASS, _SASS_LABEL)
    opcodes = [opcode for opcode, _ in code]

    def usage(name: str) -> int | None:
        found = re.search(rf"\b{name}:(\d+)", resources)
        return int(found[1]) if found else None

    loads = [op for op in opcodes if op.startswith(("LDG", "LDGSTS", "UTMALDG"))]
    stores = [op for op in opcodes if op.startswith(("STG", "UTMASTG"))]
    return {
        "registers": usage("REG"),
        "stack_bytes": usage("STACK"),
        "spills": sum(op.startswith(("LDL", "STL")) for op in opcodes),
        "tensor_instructions": sum(bool(_SASS_TENSOR.match(op)) for op in opcodes),
        "loads": len(loads),
        "wide_loads": sum(".128" in op or op.startswith("UTMALDG") for op in loads),
        "stores": len(stores),
        "wide_stores": sum(".128" in op or op.startswith("UTMASTG") for op in stores),
        "loop_instructions": _largest_loop(code, labels),
    }


def amd(assembly: str) -> Facts:
    """Facts of one kernel from its assembly."""
    code, labels = _lines(assembly, _GCN, _GCN_LABEL)
    opcodes = [opcode for opcode, _ in code]

    def metadata(name: str) -> int | None:
        found = re.search(rf"\.{name}:\s+(\d+)", assembly)
        return int(found[1]) if found else None

    loads = [op for op in opcodes if op.startswith(("global_load", "buffer_load"))]
    stores = [op for op in opcodes if op.startswith(("global_store", "buffer_store"))]
    return {
        "registers": metadata("vgpr_count"),
        "stack_bytes": metadata("private_segment_fixed_size"),
        "spills": metadata("vgpr_spill_count"),
        "tensor_instructions": sum(op.startswith("v_mfma") for op in opcodes),
        "loads": len(loads),
        "wide_loads": sum("dwordx4" in op for op in loads),
        "stores": len(stores),
        "wide_stores": sum("dwordx4" in op for op in stores),
        "loop_instructions": _largest_loop(code, labels),
    }


# Per multiprocessor: warps, programs, shared memory in KiB. CUDA programming guide, technical specifications per compute capability.
_NVIDIA = {
    "sm_80": (64, 32, 164), "sm_86": (48, 16, 100), "sm_89": (48, 24, 100), "sm_90": (64, 32, 228), "sm_100": (64, 32, 228),
    "sm_120": (48, 24, 100),
}  # fmt: skip


def occupancy(target: str, registers: int, shared_bytes: int, warps: int) -> float | None:
    """Share of a multiprocessor's warps that fit at once; None for a target whose limits are not known here.

    NVIDIA: 65,536 registers, given to a warp in units of 256; 1 KiB of shared memory is reserved for each program.
    AMD (CDNA 3): a SIMD has 512 vector registers per lane, in units of 8, and 8 waves; a compute unit has 4 of them and 64 KiB.
    """
    if target.startswith("gfx"):
        per_simd = min(8, 512 // max(8, -(-registers // 8) * 8))
        by_shared = 65_536 // shared_bytes * warps / 4 if shared_bytes else 8
        return min(per_simd, by_shared, 8) / 8
    if target not in _NVIDIA:
        return None
    most_warps, most_programs, shared_kib = _NVIDIA[target]
    per_warp = -(-registers * 32 // 256) * 256
    by_registers = 65_536 // per_warp // warps if per_warp else most_programs
    programs = min(most_programs, most_warps // warps, by_registers, shared_kib * 1024 // (shared_bytes + 1024))
    return programs * warps / most_warps
