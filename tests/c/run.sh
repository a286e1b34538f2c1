#!/bin/sh
# Builds the native library's kernels and ops without Python and measures them: tests/c/run.sh [stride]
#
#   CC=clang tests/c/run.sh                                    another compiler
#   CC=aarch64-linux-gnu-gcc RUN=qemu-aarch64 tests/c/run.sh   another processor (needs -static: set LINK=-static)
#
# stride: every stride-th float32 goes through each function of vec_math.h (default 20011; 1 takes an hour).
set -eu
cc=${CC:-gcc} run=${RUN:-} link=${LINK:-} stride=${1:-20011}
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
flags="-std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wextra -I$root/src_c"
case $($cc -dumpmachine) in
x86_64*) isas="scalar sse2 avx2 avx512" ;;
aarch64*) isas="scalar neon" ;;
*) isas=scalar ;;
esac
isa_flags() {
    case $1 in
    sse2) echo "-msse2" ;;
    avx2) echo "-mavx2 -mfma" ;;
    avx512) echo "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512" ;;
    esac
}
here() { # can this machine run the ISA?
    case $1 in
    avx2) grep -q avx2 /proc/cpuinfo ;;
    avx512) grep -q avx512vl /proc/cpuinfo ;;
    esac
}
status=0
for isa in $isas; do
    for bits in 32 64; do
        $cc $flags $(isa_flags $isa) -DFNN_REAL=$bits -c "$root/src_c/isa/$isa.c" -o "$out/$isa$bits.o"
        upper=$(echo $isa | tr a-z A-Z)
        $cc -D_GNU_SOURCE $flags $(isa_flags $isa) -DFNN_REAL=$bits -DFNN_ISA_$upper $link "$root/tests/c/ulp.c" -lm -o "$out/ulp"
        if here $isa; then $run "$out/ulp" "$stride" || status=1; fi
    done
done
$cc $flags -fopenmp $link "$root/tests/c/ops.c" "$root"/src_c/base/*.c "$root"/src_c/ops/*.c "$root/src_c/isa/dispatch.c" \
    "$out"/*.o -lm -o "$out/ops"
# Members of different teams take turns on few cores: let the idle ones sleep at once.
OMP_WAIT_POLICY=passive $run "$out/ops" || status=1
exit $status
