#!/bin/bash
# Gangs on the hosts of a list, over ssh, each started again when it dies:
#
#   configs/ssh/gangs.sh HOSTS HOST:PORT TOKEN_FILE [RANKS]
#
# HOSTS: a file with one host a line ("#" begins a comment). liquid-worker is on the PATH of each, and
# TOKEN_FILE is there too. Ctrl-C lets all gangs finish their step and leave.
set -uo pipefail
hosts=${1:?HOSTS}
address=${2:?HOST:PORT of the coordinator}
token=${3:?TOKEN_FILE}
ranks=${4:-1}
stop=$(mktemp)
trap 'rm -f "$stop"' EXIT

run() {
  local host=$1 code delay=1 begin
  while [ -e "$stop" ]; do
    begin=$SECONDS
    # A gang outlives a connection that breaks; the lock keeps a second one off its host until then.
    # The pid file is how it is asked to leave.
    ssh -o BatchMode=yes -o ServerAliveInterval=10 "$host" \
      "exec 9> /tmp/liquid-gang.\$USER.lock; flock 9; \
       mpirun -q --allow-run-as-root --bind-to none --oversubscribe \
         --mca odls_base_sigkill_timeout 0 -n $ranks \
         liquid-worker --coordinator $address --token-file $token & \
       echo \$! > /tmp/liquid-gang.\$USER.pid; wait \$!" < /dev/null
    code=$?
    echo "$host: ended with code $code" >&2
    case $code in 0 | 2 | 3 | 5 | 8 | 9 | 10 | 75) return ;; esac
    [ $((SECONDS - begin)) -lt 60 ] || delay=1
    sleep $delay
    delay=$((delay * 2 > 60 ? 60 : delay * 2))
  done
}

leave() {
  rm -f "$stop"
  for host in $list; do
    ssh -o BatchMode=yes "$host" "kill -USR1 \$(cat /tmp/liquid-gang.\$USER.pid)" < /dev/null &
  done
}

list=$(sed 's/#.*//' "$hosts")
trap leave INT TERM
for host in $list; do
  (trap '' INT && run "$host") &
done
while [ -n "$(jobs -rp)" ]; do wait; done
