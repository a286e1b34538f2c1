"""Fails if an object of the native library holds instructions of a set it was not dispatched for.

A program compiled for plain x86-64 dies on an old processor if one VEX or EVEX instruction reaches an undispatched
object, typically through an inline function of a header. The build puts every object in a folder that names its
instruction set (``avx2_f32``, ``core``, ...), so the folder says what is allowed:

    avx512_*    everything          avx2_*    VEX, no EVEX          all others    neither

It also fails if an object of an instruction set defines a global symbol beside its table: the linker could take that
symbol's code for callers in other objects.

    check_objects.py BUILD_DIRECTORY
"""

import re
import subprocess
import sys
from pathlib import Path

# Legacy mnemonics that begin with v are privileged or obsolete and never come from a C compiler.
BMI = "andn|bextr|bls[a-z]+|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx"
VEX = re.compile(rf"^\s*[0-9a-f]+:\s+(v[a-z0-9]+|{BMI}|k[a-z]+)(\s|$)")
EVEX = re.compile(r"%zmm|%[xy]mm(1[6-9]|2\d|3[01])|%k[0-7]")


def lines_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def strays(path, isa):
    """The instructions of an object that its instruction set does not allow."""
    if isa == "avx512":
        return []
    lines = lines_of("objdump", "--disassemble", "--no-show-raw-insn", "--wide", str(path))
    if isa == "avx2":
        return [line for line in lines if EVEX.search(line)]
    return [line for line in lines if VEX.match(line) or EVEX.search(line) or "%ymm" in line]


def globals_of(path):
    return [line.split()[-1] for line in lines_of("nm", "--defined-only", "--extern-only", str(path))]


def main(build):
    objects = sorted(Path(build).rglob("*.o"))
    if not objects:
        print(f"no object files below {build}")
        return 1
    if not any("x86-64" in line for line in lines_of("objdump", "--file-headers", str(objects[0]))):
        print("not x86-64: nothing to check")
        return 0
    problems, seen = [], set()
    for path in objects:
        folder = re.search(r"/(scalar|sse2|avx2|avx512)_f(32|64)/", str(path))
        isa = folder[1] if folder else "core"
        seen.add(isa)
        found = strays(path, isa)
        if found:
            problems.append(f"{path}: {len(found)} instructions beyond {isa}, first: {found[0].strip()}")
        if folder:
            names = [name for name in globals_of(path) if name != f"fnn_table_{isa}_f{folder[2]}"]
            if names:
                problems.append(f"{path}: global symbols beside its table: {', '.join(names)}")
    if "core" not in seen or len(seen) < 2:
        problems.append(f"found objects of {sorted(seen)} only: has the build changed its folders?")
    print("\n".join(problems) or f"{len(objects)} objects of {', '.join(sorted(seen))}: clean")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
