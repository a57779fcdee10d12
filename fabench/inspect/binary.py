"""Reads machine code: registers, spills, tensor-core and wide instructions, loops. Pure functions of a disassembler's text.

NVIDIA: `cuobjdump --dump-resource-usage` and `nvdisasm -c`. AMD: the assembly that Triton keeps, with its metadata.
"""

from __future__ import annotations

import re

__all__ = ["amd", "nvidia", "occupancy"]

Facts = dict[str, int | None]
# Operation, operands, and whether it is carried out always (it has no predicate, and is no conditional jump).
Code = list[tuple[str, str, bool]]

_SASS = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)(.*)")
_SASS_LABEL = re.compile(r"^\s*(\.L\w*):")
_SASS_TENSOR = re.compile(r"^(HMMA|HGMMA|QMMA|DMMA|OMMA|UTC\w*MMA)")
_PREDICATE = re.compile(r"\s*!?U?P\d")
_GCN_LABEL = re.compile(r"^(\.LBB\w+):")
_GCN = re.compile(r"^\s+()([a-z]\w+)(.*)")


def _jumps(code: Code, labels: dict[str, int]) -> dict[int, int]:
    """Where each jump goes, by the index of its instruction."""
    found = {}
    for index, (opcode, rest, _) in enumerate(code):
        if opcode.startswith(("BRA", "s_cbranch", "s_branch")):
            names = [name for name in re.findall(r"\.L\w+", rest) if name in labels]
            if names:
                found[index] = labels[names[-1]]
    return found


def _blocks(code: Code, labels: dict[str, int]) -> tuple[list[int], list[list[int]]]:
    """Where each basic block begins (and, last, where the code ends), and the blocks that follow each."""
    jumps = _jumps(code, labels)
    leaders = {0, len(code), *labels.values(), *jumps.values(), *(index + 1 for index in jumps)}
    starts = sorted(start for start in leaders if start <= len(code))
    number = {start: block for block, start in enumerate(starts)}
    after: list[list[int]] = []
    for block in range(len(starts) - 1):
        last = starts[block + 1] - 1
        opcode, _, always = code[last]
        ends = opcode.startswith(("EXIT", "RET", "s_endpgm")) and always
        follows = {number[jumps[last]]} if last in jumps else set()
        if not ends and not (last in jumps and always) and last + 1 < len(code):
            follows.add(block + 1)
        after.append([one for one in sorted(follows) if one < len(starts) - 1])
    return starts, after


def _dominators(after: list[list[int]]) -> list[int]:
    """For each block the set, as bits, of those that every way to it passes; 0 for a block that nothing reaches."""
    before: list[list[int]] = [[] for _ in after]
    for block, follows in enumerate(after):
        for one in follows:
            before[one].append(block)
    reached, todo = {0}, [0]
    while todo:
        new = [one for one in after[todo.pop()] if one not in reached]
        reached.update(new)
        todo.extend(new)
    everything = (1 << len(after)) - 1
    found = [everything if block in reached else 0 for block in range(len(after))]
    found[0] = 1
    changed = True
    while changed:
        changed = False
        for block in range(1, len(after)):
            if block not in reached:
                continue
            common = everything
            for one in before[block]:
                if one in reached:
                    common &= found[one]
            common |= 1 << block
            changed |= common != found[block]
            found[block] = common
    return found


def loops(code: Code, labels: dict[str, int]) -> list[int]:
    """Instructions of each outermost loop, in the order of the code; what waits out of line counts where it returns to.

    A loop is a natural one: what reaches a jump back without leaving through the block that it jumps to, which dominates it.
    """
    if not code:
        return []
    starts, after = _blocks(code, labels)
    dominators = _dominators(after)
    before: list[list[int]] = [[] for _ in after]
    for block, follows in enumerate(after):
        for one in follows:
            before[one].append(block)
    bodies: dict[int, set[int]] = {}
    for block, follows in enumerate(after):
        for head in follows:
            if dominators[block] >> head & 1:
                body = bodies.setdefault(head, {head})
                todo = [block]
                while todo:
                    one = todo.pop()
                    if one not in body:
                        body.add(one)
                        todo.extend(before[one])
    outermost = [head for head, body in bodies.items() if not any(head in other and body < other for other in bodies.values())]
    return [sum(starts[block + 1] - starts[block] for block in bodies[head]) for head in sorted(outermost)]


def _main_loop(code: Code, labels: dict[str, int]) -> int | None:
    """Instructions of the loop that ordinarily runs: the first of those that are not small beside the largest.

    A second one is the exact walk that an optimistic kernel falls back to; small ones wait, or jump to themselves where the code ends.
    """
    sizes = [size for size in loops(code, labels) if size > 2]
    return next((size for size in sizes if 4 * size >= max(sizes)), None)


def _lines(text: str, instruction: re.Pattern[str], label: re.Pattern[str]) -> tuple[Code, dict[str, int]]:
    code: Code = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if found := label.match(line):
            labels[found[1]] = len(code)
        elif found := instruction.search(line):
            guarded = found[1] or found[2].startswith("s_cbranch") or (found[2].startswith("BRA") and _PREDICATE.match(found[3]))
            code.append((found[2], found[3], not guarded))
    return code, labels


def nvidia(resources: str, sass: str) -> Facts:
    """Facts of one kernel from its resource usage and its disassembly."""
    code, labels = _lines(sass, _SASS, _SASS_LABEL)
    opcodes = [opcode for opcode, _, _ in code]

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
        "loop_instructions": _main_loop(code, labels),
    }


def amd(assembly: str) -> Facts:
    """Facts of one kernel from its assembly."""
    code, labels = _lines(assembly, _GCN, _GCN_LABEL)
    opcodes = [opcode for opcode, _, _ in code]

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
        "loop_instructions": _main_loop(code, labels),
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
