#!/usr/bin/env bash
# The first thing to do with a GPU, in under ten minutes: kernel tests and golden models against the
# CPU, each operation over its floor, tokens/s and MFU of training steps, NCCL where there are
# several GPUs; one summary at the end. What fails does not keep the rest from running.
# Exit status: 0 if everything ran and passed.
# Usage: bench/gpu/run.sh [--programs DIR] [--out FILE] [--quick]
#   --programs DIR  takes what bench/gpu/pack.sh made of DIR elsewhere, and builds nothing
#   --out FILE      writes a copy of the output there
#   --quick         small shapes, whose figures mean nothing
set -uo pipefail
cd_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
programs=
out=/dev/null
quick=()
while (($# > 0)); do
  case $1 in
    --programs) programs=$(cd "$cd_from" && realpath "${2:?--programs needs a directory}") || exit 2; shift 2 ;;
    --out) out=$(cd "$cd_from" && realpath "${2:?--out needs a file}") || exit 2; shift 2 ;;
    --quick) quick=(--quick); shift ;;
    *) echo "usage: bench/gpu/run.sh [--programs DIR] [--out FILE] [--quick]" >&2; exit 2 ;;
  esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
most_seconds=590
# limit SECONDS COMMAND...: at most so long, and not beyond the end of the whole.
limit() {
  local left=$((most_seconds - SECONDS))
  ((left > $1)) && left=$1
  ((left > 0)) || { echo "no time left for: ${*:2}"; return 124; }
  timeout --kill-after=5 "$left" "${@:2}"
}

# test_names PROGRAM: Suite.Name of each test that is for a GPU.
test_names() {
  "$1" --gtest_list_tests --gtest_filter='*Cuda*' 2>/dev/null |
    awk '/^[^ ].*\.( |$)/ {suite = $1} /^  / {print suite $1}'
}

# A test that breaks the device's context fails all that come after it in the same process, so those
# that did not pass run again alone.
passed=0
skipped=0
failures=()
run_tests() {
  local program=$1 name names log=$work/all.log alone=$work/alone.log
  names=$(LIQUID_REQUIRE_CUDA=1 test_names "$program")
  if [[ -z $names ]]; then
    failures+=("$(basename "$program"): lists no tests")
    "$program" --gtest_list_tests 2>&1 | tail -1
    return
  fi
  LIQUID_REQUIRE_CUDA=1 limit 90 "$program" --gtest_filter='*Cuda*' >"$log" 2>&1
  while read -r name; do
    if grep -qF "[       OK ] $name (" "$log"; then
      passed=$((passed + 1))
    elif grep -qF "[  SKIPPED ] $name (" "$log"; then
      skipped=$((skipped + 1))
    elif LIQUID_REQUIRE_CUDA=1 limit 30 "$program" --gtest_filter="$name" >"$alone" 2>&1 </dev/null; then
      passed=$((passed + 1))
      echo "$(basename "$program") $name: passes alone, not with the others"
    else
      failures+=("$(basename "$program") $name")
      echo "--- $(basename "$program") $name"
      grep -v '^\[\|^Note:\|^Running main\|^$' "$alone" | head -12
    fi
  done <<<"$names"
}

unfinished=()
# measure NAME SECONDS COMMAND...: shows the output and keeps it for the summary.
measure() {
  local name=$1
  echo
  echo "== $name"
  limit "$2" "${@:3}" 2>&1 | tee "$work/$name"
  local status=${PIPESTATUS[0]}
  ((status == 0)) || unfinished+=("$name: exit status $status (124: out of time)")
}

summary() {
  echo
  echo "== Summary"
  echo "$card"
  echo "tests against the CPU: $passed passed, ${#failures[@]} failed, $skipped skipped"
  ((${#failures[@]} == 0)) || printf '  failed: %s\n' "${failures[@]}"
  grep '^ceilings:\|^recipe:' "$work/kernels"
  cat "$work/layers" "$work/nccl"
  ((${#unfinished[@]} == 0)) || printf 'not finished: %s\n' "${unfinished[@]}"
  echo "$SECONDS s in all"
}

main() {
  card=$(nvidia-smi --query-gpu=index,name,driver_version,memory.total,power.limit --format=csv,noheader 2>/dev/null) ||
    { echo "run.sh: no GPU: nvidia-smi is missing or finds none"; return 1; }
  if [[ -z $programs ]]; then
    programs=$PWD/build/gpu_programs
    limit 400 bench/gpu/pack.sh "$programs" || return 1
  fi
  tar -C "$work" -xzf "$programs/lib.tar.gz" || return 1
  # cuBLASLt is loaded by name: from where CUDA's installer puts it, if the loader knows no other.
  export LD_LIBRARY_PATH=$work/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}:/usr/local/cuda/lib64
  echo "$card"
  echo
  echo "== Tests against the CPU"
  local program
  for program in "$programs"/kernels.*_test "$programs/model.Golden"; do run_tests "$program"; done
  echo "$passed passed, ${#failures[@]} failed, $skipped skipped"
  measure kernels 120 "$programs/bench.gpu.kernels" "${quick[@]}"
  measure layers 120 "$programs/bench.gpu.layers" "${quick[@]}"
  if (($(wc -l <<<"$card") == 1)); then
    echo "NCCL: one GPU, not measured" >"$work/nccl"
  elif [[ -x $programs/parallel.nccl_bench ]]; then
    measure nccl 60 "$programs/parallel.nccl_bench"
  else
    echo "NCCL: no program parallel.nccl_bench, not measured" >"$work/nccl"
  fi
  summary
  ((${#failures[@]} + ${#unfinished[@]} == 0))
}

main | tee "$out"
exit "${PIPESTATUS[0]}"
