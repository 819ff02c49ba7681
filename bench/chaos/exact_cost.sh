#!/usr/bin/env bash
# What exact sums cost: a step of the SmolLM2-135M shape with 8 slots of 1 x 512 tokens on 2 ranks, with
# gradient_sum exact and fast by turns in one run. Prints both and the ratio.
# Usage: bench/chaos/exact_cost.sh [rounds, default 2]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rounds=${1:-2}
tools/build release liquid liquid-worker >/dev/null
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
job: exact_cost
output: $work/run
model: {config: model.json, tokenizer: $PWD/configs/quickstart/tokenizer, init_seed: 1, recompute: none}
data: {train: [train.jsonl], sequence_length: 512}
training: {epochs: 10, slots_per_step: 8, rows_per_slot: 1, seed: 1}
checkpoint: {every_steps: 0}
YAML
steps=3 # of each turn; the first one touches memory and is left out
for round in $(seq "$rounds"); do
  for kind in exact fast; do
    # The worker leaves by itself after its steps (code 75); its last checkpoint is of no interest.
    build/release/bin/liquid train "$work/job.yaml" -n 2 --progress none --max-steps $steps \
      --set "output=$work/$kind$round" --set "training.gradient_sum=$kind" >/dev/null 2>&1 || [ $? = 75 ]
    grep '"event":"step"' "$work/$kind$round/metrics.jsonl" | tail -n $((steps - 1)) |
      grep -o '"step_seconds":[0-9.e+-]*' | cut -d: -f2 >>"$work/$kind.txt"
    rm -rf "$work/$kind$round"
  done
done
median() { sort -g "$1" | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }
awk -v e="$(median "$work/exact.txt")" -v f="$(median "$work/fast.txt")" 'BEGIN {
  printf "step of 8 x 512 tokens, SmolLM2-135M shape, 2 ranks: exact %.2f s, fast %.2f s: exact costs %.1f%% (limit 10%%)\n", e, f, 100*(e/f-1)}'
