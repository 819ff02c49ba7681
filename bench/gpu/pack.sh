#!/usr/bin/env bash
# Builds what bench/gpu/run.sh runs and collects it in DIR, with the shared libraries that a bare
# machine lacks in DIR/lib.tar.gz: all but glibc's, the C++ compiler's and NVIDIA's (of those the
# small CUDA runtime alone). Compressed, since oneDNN alone is 40 MB. Needs nvcc of CUDA 13, and no
# GPU.
# Usage: bench/gpu/pack.sh DIR
set -euo pipefail
[[ $# == 1 ]] || { echo "usage: bench/gpu/pack.sh DIR" >&2; exit 2; }
mkdir -p "$1"
directory=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null || { echo "pack.sh: no nvcc: install the CUDA Toolkit 13" >&2; exit 1; }

targets=(bench.gpu.kernels bench.gpu.layers model.Golden)
for source in tests/kernels/*_test.cc; do targets+=("kernels.$(basename "$source" .cc)"); done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
tools/build release "${targets[@]}" >"$log" 2>&1 ||
  { tail -20 "$log"; echo "pack.sh: the build fails" >&2; exit 1; }
[[ -f build/release/lib/libliquid_cuda_kernels.so ]] ||
  { cmake --preset release | grep 'CUDA:'; echo "pack.sh: the build has no GPU kernels" >&2; exit 1; }
# Not there in every state of the tree; run.sh asks for it where there are several GPUs.
if ninja -C build/release -t targets all | grep -q '^parallel.nccl_bench:'; then
  tools/build release parallel.nccl_bench >/dev/null
  targets+=(parallel.nccl_bench)
fi

mkdir "$work/lib"
for target in "${targets[@]}"; do
  program=$(find build/release -type f -name "$target" -perm -u+x | head -1)
  strip -o "$directory/$target" "$program"
  # Not the emulation, whatever the environment says.
  env -u LD_LIBRARY_PATH ldd "$program"
done | awk '$3 ~ "^/" {print $3}' | sort -u | while read -r library; do
  case $(basename "$library") in
    libc.so.* | libm.so.* | libdl.so.* | librt.so.* | libpthread.so.* | libutil.so.* | libresolv.so.*) ;;
    libstdc++.so.* | libgcc_s.so.* | libnccl.so.* | libcublas*) ;;
    libcudart.so.*) cp -L "$library" "$work/lib/" ;;
    *) strip --strip-unneeded -o "$work/lib/$(basename "$library")" "$library" ;;
  esac
done
tar -C "$work" -czf "$directory/lib.tar.gz" lib
du -sm --apparent-size "$directory" | awk -v d="$directory" '{printf "%s: %d MiB\n", d, $1}'
