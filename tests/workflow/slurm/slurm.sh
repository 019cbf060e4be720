#!/usr/bin/env bash
# A SLURM of one node on 127.0.0.1, for tests: slurm.sh start|stop|node-down|node-up|status. Needs root.
# Daemons are the distribution's (Debian: slurm-wlm, munge) and are installed if they are missing. Everything that they
# write lies below $SLURM_TEST_FOLDER; only processes that this script started, known by their files of pids, are ended.
# /etc/slurm/slurm.conf becomes a link to its configuration, because the executor hides SLURM_CONF from the jobs; where
# that file belongs to another SLURM, the script refuses.
set -euo pipefail

FOLDER=${SLURM_TEST_FOLDER:-/tmp/conceptreel-slurm}
CONF=$FOLDER/slurm.conf
SYSTEM_CONF=/etc/slurm/slurm.conf
MUNGE_SOCKET=$FOLDER/munge/socket
# Tests share the machine with others.
CPUS=$(($(nproc --all) < 2 ? 1 : 2))
MEMORY_MB=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 8 / 10))

die() {
    echo "slurm.sh: $*" >&2
    exit "${STATUS:-1}"
}

install_daemons() {
    command -v slurmctld >/dev/null && command -v munged >/dev/null && return
    local STATUS=3 # what cannot be had here is no failed test
    [ "$(id -u)" = 0 ] || die "slurmctld and munged are missing, and only root can install them"
    command -v apt-get >/dev/null || die "install slurmctld, slurmd and munged with the system's package manager"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge \
        >/dev/null || die "slurmctld and munged cannot be installed"
}

configure() {
    install -d -m 755 "$FOLDER" "$FOLDER/state" "$FOLDER/spool" "$FOLDER/log"
    install -d -m 755 -o munge -g munge "$FOLDER/munge"
    if [ ! -f "$FOLDER/munge/key" ]; then
        (umask 077 && head -c 1024 /dev/urandom >"$FOLDER/munge/key")
        chown munge: "$FOLDER/munge/key"
    fi
    if [ -e $SYSTEM_CONF ] && [ "$(readlink $SYSTEM_CONF)" != "$CONF" ]; then
        STATUS=3 die "$SYSTEM_CONF is that of another SLURM; this script is for machines without one"
    fi
    install -d -m 755 /etc/slurm
    ln -sf "$CONF" $SYSTEM_CONF
    cat >"$CONF" <<CONF
ClusterName=conceptreel-test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmctldPort=${SLURM_TEST_PORT:-16817}
SlurmdPort=$((${SLURM_TEST_PORT:-16817} + 1))
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$MUNGE_SOCKET
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/filetxt
JobCompLoc=$FOLDER/log/jobs
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=1,sched_min_interval=100000
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmdPidFile=$FOLDER/slurmd.pid
SlurmctldLogFile=$FOLDER/log/slurmctld
SlurmdLogFile=$FOLDER/log/slurmd
ReturnToService=2
MinJobAge=600
KillWait=5
SlurmdTimeout=20
MpiDefault=none
NodeName=localhost NodeAddr=127.0.0.1 CPUs=$CPUS RealMemory=$MEMORY_MB State=UNKNOWN
PartitionName=test Nodes=localhost Default=YES MaxTime=INFINITE State=UP
CONF
}

# begin NAME COMMAND…: start a daemon in the foreground mode that every one of them has, and remember its process.
begin() {
    local name=$1
    shift
    setsid nohup "$@" >"$FOLDER/log/$name.out" 2>&1 </dev/null &
    echo $! >"$FOLDER/$name.started"
}

# end NAME: stop a daemon that `begin` started, if it is still that one.
end() {
    local file=$FOLDER/$1.started pid
    [ -f "$file" ] || return 0
    pid=$(cat "$file")
    rm -f "$file"
    if [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q "${1}"; then
        kill "${2:--TERM}" "$pid" 2>/dev/null || true
        for _ in $(seq 100); do
            [ -d "/proc/$pid" ] || return 0
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
    fi
}

await() {
    local what=$1
    shift
    for _ in $(seq 150); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.2
    done
    tail -n 20 "$FOLDER"/log/* >&2 || true
    die "$what did not come up within 30 seconds"
}

node_is_idle() { sinfo --noheader --format=%T | grep -Eq 'idle|mixed|allocated'; }

node_up() {
    begin slurmd slurmd -D -N localhost
    await slurmd node_is_idle
}

case "${1:-}" in
start)
    [ "$(id -u)" = 0 ] || die "only root can start slurmd and munged"
    install_daemons
    "$0" stop
    rm -rf "$FOLDER/state" "$FOLDER/spool"
    configure
    begin munged setpriv --reuid=munge --regid=munge --clear-groups munged --foreground --force \
        --socket="$MUNGE_SOCKET" --key-file="$FOLDER/munge/key" --pid-file="$FOLDER/munge/pid" \
        --log-file="$FOLDER/munge/log" --seed-file="$FOLDER/munge/seed"
    await munged munge --no-input --socket="$MUNGE_SOCKET"
    begin slurmctld slurmctld -D
    await slurmctld scontrol ping
    node_up
    ;;
stop)
    end slurmd
    end slurmctld
    end munged
    [ "$(readlink $SYSTEM_CONF)" != "$CONF" ] || rm -f $SYSTEM_CONF
    ;;
node-down) end slurmd -KILL ;;
node-up) node_up ;;
status) sinfo && squeue ;;
*) die "usage: slurm.sh start|stop|node-down|node-up|status" ;;
esac
