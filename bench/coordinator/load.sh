#!/usr/bin/env bash
# Starts a coordinator and the load on it: bench/coordinator/load.sh BIN_DIRECTORY [load's options].
# The ledger is on the disk of $TMPDIR. HEARTBEAT_TIMEOUT: of the job, in seconds.
set -euo pipefail
bin=$1
shift
directory=$(mktemp -d)
trap 'kill "$coordinator" 2>/dev/null || true; wait "$coordinator" 2>/dev/null || true; rm -rf "$directory"' EXIT
cat > "$directory/job.yaml" <<YAML
output: $directory/output
model: {from: /nowhere}
data: {train: [/nowhere.jsonl]}
training: {epochs: 10, slots_per_step: 2500, rows_per_slot: 1}
checkpoint: {every_steps: 0}
coordinator: {heartbeat_timeout_seconds: ${HEARTBEAT_TIMEOUT:-5}}
YAML
"$bin/liquid-coordinator" "$directory/job.yaml" 2> "$directory/log" &
coordinator=$!
for _ in $(seq 100); do
  [ -e "$directory/output/coordinator.json" ] && break
  sleep 0.05
done
address=$(sed -E 's/.*"address":"([^"]*)".*/\1/' "$directory/output/coordinator.json")
result=0
"$bin/bench.coordinator.load" --coordinator "$address" --pid "$coordinator" "$@" || result=$?
[ "$result" = 0 ] || tail -3 "$directory/log" | cut -c -300 >&2
ls -l "$directory/output/ledger.sqlite" | awk '{printf "ledger: %.1f MiB\n", $5 / 1048576}'
exit "$result"
