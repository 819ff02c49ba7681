#!/usr/bin/env bash
# What of a gang's reduction a step waits for, on a network of limited speed: 2 ranks, SmolLM2-135M shape, 8 slots of
# 1 x 512 tokens, in a network namespace of its own whose loopback passes MBIT megabits a second. Prints
# the waiting against the time that the bytes take at least. Needs root, iproute2 and MPI over TCP.
# Usage: bench/parallel/overlap.sh [MBIT, default 8000] [build folder with bin/liquid, default build/release]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mbit=${1:-8000}
build=${2:-build/release}
[[ $# -ge 2 ]] || tools/build release liquid liquid-worker >/dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/model.json" <<'JSON'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152, "hidden_size": 576,
 "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
 "max_position_embeddings": 8192, "rms_norm_eps": 1e-05, "rope_theta": 100000, "hidden_act": "silu",
 "tie_word_embeddings": true, "torch_dtype": "float32"}
JSON
for _ in 1 2 3 4; do cat configs/quickstart/train.jsonl; done >"$work/train.jsonl"
cat >"$work/job.yaml" <<YAML
job: overlap
output: $work/run
model: {config: model.json, tokenizer: $PWD/configs/quickstart/tokenizer, init_seed: 1, recompute: none}
data: {train: [train.jsonl], sequence_length: 512}
training: {epochs: 10, slots_per_step: 8, rows_per_slot: 1, seed: 1}
checkpoint: {every_steps: 0}
YAML
export OMPI_MCA_btl=tcp,self OMPI_MCA_btl_tcp_if_include=lo  # not through shared memory
# The worker leaves by itself after its steps (code 75); the first one touches memory and is left out.
unshare --net bash -c "ip link set lo up; tc qdisc add dev lo root tbf rate ${mbit}mbit burst 4mb latency 200ms
  exec $build/bin/liquid train '$work/job.yaml' -n 2 --progress none --max-steps 4" >"$work/log" 2>&1 || [ $? = 75 ] || { tail -3 "$work/log" >&2; exit 1; }
median() { grep '"event":"step"' "$work/run/metrics.jsonl" | tail -n 3 | grep -o "\"$1\":[0-9.e+-]*" | cut -d: -f2 | sort -g | sed -n 2p; }
awk -v wait="$(median comm_seconds)" -v step="$(median step_seconds)" -v mbit="$mbit" 'BEGIN {
  # Both ranks send the other half of 134.5 million int64, over one wire.
  least = 134.5e6 * 8 * 8 / (mbit * 1e6)
  printf "step %.2f s; its reduction takes %.2f s of a wire of %d Mbit/s at least, the step waits %.2f s for it: %.0f%%\n", step, least, mbit, wait, 100 * wait / least}'
