"""Fails if a compiler has spoilt the inner loop of a matrix product's tile.

The loop over depth must hold nothing but loads, broadcasts and multiply-adds between registers. Two things ruin it
without a wrong result: accumulators spilled to the stack, and broadcasts folded into every multiply-add that uses
them, which turns one load per row into one per row and vector.

    check_tiles.py BUILD_DIRECTORY
"""

import re
import subprocess
import sys
from pathlib import Path

#: instruction set, function, multiply-adds per step of depth (a loop that is unrolled has a multiple of them)
TILES = (
    ("avx512", "gemm_wide_14", 28),
    ("avx512", "gemm_wide_13", 26),
    ("avx512", "gemm_wide_8", 16),
    ("avx2", "gemm_wide_6", 12),
    ("avx2", "gemm_wide_5", 10),
)
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")


def disassembly(path):
    command = ["objdump", "--disassemble", "--no-show-raw-insn", "--wide", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def instructions(text, function):
    """(address, mnemonic, operands) of one function."""
    body = text.partition(f"<{function}>:\n")[2].partition("\n\n")[0]
    found = [match.groups() for match in map(INSTRUCTION.match, body.splitlines()) if match]
    return [(int(address, 16), mnemonic, operands) for address, mnemonic, operands in found]


def inner_loops(code):
    """Bodies of the loops that hold no other loop and multiply-add."""
    spans = []
    for position, (address, mnemonic, operands) in enumerate(code):
        target = re.match(r"([0-9a-f]+) <", operands)
        if mnemonic.startswith("j") and target and int(target[1], 16) <= address:
            start = next(i for i, row in enumerate(code) if row[0] == int(target[1], 16))
            spans.append((start, position))
    inner = [span for span in spans if not any(o != span and span[0] <= o[0] and o[1] <= span[1] for o in spans)]
    bodies = [code[start : end + 1] for start, end in inner]
    return [body for body in bodies if any("fmadd" in mnemonic for _, mnemonic, _ in body)]


def problems_of(path, text, function, expected):
    loops = inner_loops(instructions(text, function))
    if not loops:
        return [f"{path}: no loop with multiply-adds found in {function}"]
    problems = []
    for body in loops:
        fused = [operands for _, mnemonic, operands in body if "fmadd" in mnemonic]
        stores = [o for _, m, o in body if m.startswith("vmov") and o.rstrip().endswith(")")]
        if len(fused) % expected:
            problems.append(f"{path}: {function} has {len(fused)} multiply-adds in its loop, not {expected}")
        if any("(" in operands for operands in fused):
            problems.append(f"{path}: {function} multiplies from memory: broadcasts were folded")
        if stores:
            problems.append(f"{path}: {function} stores vectors in its loop: accumulators were spilled")
    return problems


def main(build):
    checked, problems = 0, []
    for path in sorted(Path(build).rglob("*.o")):
        folder = re.search(r"/(\w+)_f(?:32|64)/", str(path))
        tiles = [tile[1:] for tile in TILES if folder and tile[0] == folder[1]]
        text = disassembly(path) if tiles else ""
        for function, expected in tiles:
            checked += 1
            problems += problems_of(path, text, function, expected)
    if not checked:
        problems.append(f"{build} holds no object with a known tile")
    print("\n".join(problems) or f"{checked} tiles: every multiply-add is between registers")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
