#!/usr/bin/env bash
# SFT for two liquid epochs on the conversations about the terminal of $LIQUID_SHARED/data (default
# ../shared): once undisturbed on 2 ranks, once in two gangs of one rank that are killed (SIGKILL) or
# frozen for some seconds at random moments and started again. Prints eval loss and accuracy before and
# after, and what must be equal: the fingerprints. Takes 10 to 40 minutes on 2 cores.
# Usage: bench/chaos/terminal_sft.sh stories260K|gemma4_10m [seed, default 1]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
shared=$(realpath "${LIQUID_SHARED:-../shared}")
root=$PWD
tools/build release liquid liquid-worker liquid-coordinator >/dev/null
work=$(mktemp -d)
mkdir "$work/bin"
cp build/release/bin/liquid* "$work/bin" # so that only these are looked for
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
RANDOM=${2:-1}

case ${1:-} in
stories260K)
  # Its tokenizer has no chat template: the simplest there is.
  cat >"$work/chat.jinja" <<'JINJA'
<s>{% for message in messages %}{% if message.role == 'assistant' %}{% generation %}{{ message.content }}</s>{% endgeneration %}{% else %}{{ message.content }}
{% endif %}{% endfor %}
JINJA
  model="{from: $shared/golden/stories260K}" template="chat_template: chat.jinja," precision=fp32
  ;;
gemma4_10m)
  cat >"$work/model.json" <<'JSON'
{"model_type": "gemma4_text", "architectures": ["Gemma4ForCausalLM"], "vocab_size": 8192, "hidden_size": 256,
 "intermediate_size": 640, "num_hidden_layers": 10, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
 "global_head_dim": 128, "sliding_window": 64, "hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": 8192,
 "num_kv_shared_layers": 2, "final_logit_softcapping": 30.0, "initializer_range": 0.05, "max_position_embeddings": 4096,
 "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention", "sliding_attention", "full_attention",
                 "sliding_attention", "sliding_attention", "sliding_attention", "sliding_attention", "full_attention"],
 "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
JSON
  model="{config: model.json, tokenizer: $root/configs/quickstart/tokenizer, init_seed: 7}" template='' precision=bf16
  ;;
*)
  sed -n 's/^# Usage: /Usage: /p' "$0" >&2
  exit 2
  ;;
esac
cat >"$work/job.yaml" <<YAML
job: terminal
output: run
model: $model
data: {train: [$shared/data/train.jsonl], eval: [$shared/data/eval.jsonl], $template sequence_length: 512}
training: {epochs: 2, slots_per_step: 8, rows_per_slot: 2, precision: $precision}
optimizer: {learning_rate: 2.0e-3, warmup_steps: 20}
checkpoint: {every_steps: 20}
YAML
liquid=$work/bin/liquid

# tell NAME: what came of a run.
tell() {
  grep -h "^eval at step" "$work/$1.log" "$work/$1"/logs/* 2>/dev/null | sort -u | sed "s/^/$1: /" || true
  "$liquid" audit "$work/$1" | sed "s/^/$1: /"
  echo "$1: $("$liquid" fingerprint "$work/$1/checkpoints/latest" | tail -1)"
}

"$liquid" train "$work/job.yaml" -n 2 --set output="$work/alone" >"$work/alone.log" 2>&1
tell alone
"$liquid" launch "$work/job.yaml" --gangs 2 -n 1 --max-restarts 1000 --set output="$work/disturbed" >"$work/disturbed.log" 2>&1 &
launch=$!
kills=0 freezes=0
while kill -0 $launch 2>/dev/null; do
  sleep $((15 + RANDOM % 35))
  mapfile -t workers < <(pgrep -f "$work/bin/liquid-worker" || true)
  ((${#workers[@]} > 0)) || continue
  worker=${workers[RANDOM % ${#workers[@]}]}
  if ((RANDOM % 3 > 0)); then
    kill -KILL "$worker" 2>/dev/null && kills=$((kills + 1))
  else
    kill -STOP "$worker" 2>/dev/null && freezes=$((freezes + 1))
    sleep $((2 + RANDOM % 9))
    kill -CONT "$worker" 2>/dev/null || true
  fi
done
wait $launch
tell disturbed
echo "disturbed: $kills workers killed, $freezes frozen"
cmp <("$liquid" fingerprint "$work/alone/checkpoints/latest" | tail -1) \
  <("$liquid" fingerprint "$work/disturbed/checkpoints/latest" | tail -1) && echo "the same weights"
