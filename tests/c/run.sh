#!/bin/sh
# Builds the native library's kernels and ops without Python, tests and measures them: tests/c/run.sh [stride [every]]
#
#   CC=clang tests/c/run.sh                                              another compiler
#   SANITIZE=1 tests/c/run.sh                                            with AddressSanitizer and UBSan, ops only
#   CC=aarch64-linux-gnu-gcc RUN=qemu-aarch64 LINK=-static tests/c/run.sh 2000003 9    another processor
#
# stride: every stride-th float32 goes through each function of vec_math.h (default 20011; 1 takes an hour).
# every: each every-th size of the products' sweep (default 1: all of them).
set -eu
cc=${CC:-gcc} run=${RUN:-} link=${LINK:-} stride=${1:-20011} every=${2:-1}
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
sanitize=${SANITIZE:+-fsanitize=address,undefined -fno-sanitize-recover=undefined -g}
flags="$sanitize -std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wextra -I$root/src_c"
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
compile() { # ISA BITS: its kernels and its measurement of vec_math.h
    upper=$(echo "$1" | tr a-z A-Z)
    $cc $flags $(isa_flags $1) -DFNN_REAL=$2 -c "$root/src_c/isa/$1.c" -o "$out/$1_$2.o"
    $cc -D_GNU_SOURCE $flags $(isa_flags $1) -DFNN_REAL=$2 -DFNN_ISA_$upper $link "$root/tests/c/ulp.c" -lm -o "$out/ulp_$1_$2"
}
status=0
for isa in $isas; do
    compile $isa 32 & other=$!
    compile $isa 64
    wait $other
done
for source in "$root"/src_c/base/*.c "$root"/src_c/ops/*.c "$root"/src_c/program/*.c "$root/src_c/isa/dispatch.c"; do
    $cc $flags -fopenmp -c "$source" -o "$out/core_$(basename "$source" .c).o"
done
for test in ops products team; do
    $cc $flags -fopenmp $link "$root/tests/c/$test.c" "$out"/*.o -lm -o "$out/$test"
done
for isa in $isas; do
    for bits in 32 64; do
        if [ -z "$sanitize" ] && here $isa; then $run "$out/ulp_${isa}_$bits" "$stride" || status=1; fi
    done
done
# Members of different teams take turns on few cores: let the idle ones sleep at once.
export OMP_WAIT_POLICY=passive
$run "$out/ops" || status=1
$run "$out/products" "$every" || status=1
for limit in 1 2 3 ""; do # members that are granted
    (if [ "$limit" ]; then export OMP_THREAD_LIMIT=$limit; fi && $run "$out/team") || status=1
done
exit $status
