#!/usr/bin/env bash
# One full SFT step of the SmolLM2-135M shape, 4 x 512 tokens, fp32, 2 threads: ours, PyTorch's
# (Debian's python3-torch), and the machine's matrix product peak, in one run. Prints one table.
# Usage: bench/step.sh [steps of PyTorch, default 3]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
steps=${1:-3}

# /usr/bin/python3: the one that Debian's packages belong to. It needs a good BLAS too: without it torch
# falls back to a slow reference one.
for package in python3-torch libopenblas0-pthread; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
    { echo "installing $package" && apt-get install -y -qq --no-install-recommends "$package" >/dev/null; }
done
tools/build release bench.step_bench >/dev/null

threads=2
ours=$(OMP_NUM_THREADS=$threads build/release/bench/model/bench.step_bench \
  --benchmark_filter='rows_per_slot:4/recompute:0' --benchmark_format=json 2>/dev/null |
  sed -n '/^{/,$p')
# The peer twice: with malloc's thresholds raised, as people do; and as fast as it was seen: all
# memory from the heap and kept there, in huge pages. OpenBLAS is free to choose its kernels.
torch_step() {
  env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OMP_NUM_THREADS=$threads \
    OPENBLAS_NUM_THREADS=$threads MALLOC_TRIM_THRESHOLD_=1000000000000 "$@" \
    /usr/bin/python3 bench/peers/torch_step.py "$steps"
}
usual=$(torch_step MALLOC_MMAP_THRESHOLD_=1073741824)
best=$(torch_step MALLOC_MMAP_MAX_=0 MALLOC_TOP_PAD_=268435456 GLIBC_TUNABLES=glibc.malloc.hugetlb=1)

value() { grep -o "\"$2\": *[0-9.e+-]*" <<<"$1" | head -1 | sed 's/.*: *//'; }
awk -v ours="$(value "$ours" tokens_per_second)" -v mfu="$(value "$ours" mfu)" \
  -v peak="$(value "$ours" peak_gflops)" -v memory="$(value "$ours" memory_gb)" \
  -v usual="$(value "$usual" tokens_per_second_best)" \
  -v usual_bytes="$(value "$usual" peak_bytes)" \
  -v best="$(value "$best" tokens_per_second_best)" -v best_bytes="$(value "$best" peak_bytes)" '
  BEGIN {
    printf "fp32 product peak, 2 threads              %7.0f GFLOP/s\n", peak
    printf "Liquid Trainer                            %7.1f tok/s  MFU %.1f%%  peak memory %.1f GB\n", ours, 100 * mfu, memory
    printf "PyTorch, malloc thresholds raised         %7.1f tok/s  peak memory %.1f GB   we are %.2f times as fast\n", usual, usual_bytes / 1e9, ours / usual
    printf "PyTorch, heap only, huge pages            %7.1f tok/s  peak memory %.1f GB   we are %.2f times as fast\n", best, best_bytes / 1e9, ours / best
  }'
