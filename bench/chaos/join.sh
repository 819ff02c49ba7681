#!/usr/bin/env bash
# What a join costs those who are at work: the SmolLM2-135M shape, 1.6 GB of weights and moments, a second
# gang joins the first on one machine. Prints the pause of the first, and the limit: bytes over the
# bandwidth of the transport (measured in the same run) plus half a second.
# Usage: bench/chaos/join.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools/build release liquid-coordinator liquid-worker >/dev/null
bin=build/release/bin
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
sed -n '/^cat.*model.json/,/^JSON/p' bench/chaos/exact_cost.sh | grep '[{"]' | grep -v '^cat' >"$work/model.json"
cp configs/quickstart/train.jsonl "$work/train.jsonl"
cat >"$work/job.yaml" <<YAML
job: join
output: $work/run
model: {config: model.json, tokenizer: $PWD/configs/quickstart/tokenizer, init_seed: 1}
data: {train: [train.jsonl], sequence_length: 64}
training: {epochs: 100, slots_per_step: 4, rows_per_slot: 1, seed: 1}
checkpoint: {every_steps: 0}
coordinator: {heartbeat_timeout_seconds: 20}
YAML
$bin/liquid-coordinator "$work/job.yaml" --listen 127.0.0.1:0 >"$work/coordinator.log" 2>&1 &
until grep -q ' at 127' "$work/coordinator.log"; do sleep 0.1; done
address=$(grep -o 'at 127[0-9.:]*' "$work/coordinator.log" | head -1 | cut -c4-)
$bin/liquid-worker --coordinator "$address" >"$work/first.log" 2>&1 &
until grep -q 'step 2/' "$work/first.log"; do sleep 0.2; done
$bin/liquid-worker --coordinator "$address" >"$work/second.log" 2>&1 &
until grep -q 'paused' "$work/first.log" && grep -q 'joined' "$work/second.log"; do sleep 0.2; done
pause=$(grep -o 'paused [0-9.]* ms' "$work/first.log" | cut -d' ' -f2)
megabytes=$(grep -o 'step [0-9]*, [0-9.]* MB' "$work/first.log" | head -1 | cut -d' ' -f3)
rate=$(grep -o '([0-9]* MB/s)' "$work/second.log" | tr -dc '0-9')
awk -v p="$pause" -v m="$megabytes" -v r="$rate" 'BEGIN {
  printf "join: %.0f MB of state; the gang at work paused for %.2f s; received at %.0f MB/s: limit %.2f s\n", m, p / 1e3, r, m / r + 0.5}'
