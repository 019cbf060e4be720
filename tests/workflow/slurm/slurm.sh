#!/usr/bin/env bash
# A SLURM of two nodes on 127.0.0.1, for tests: slurm.sh start|accounting|stop|node-down|node-up|status. Needs root.
# Each node pretends to have a GPU. `accounting` adds a data base to a SLURM that runs, so that `sacct` knows its jobs.
# Daemons are the distribution's (Debian: slurm-wlm, munge; slurmdbd, mariadb-server) and are installed if they are
# missing. Everything that they write lies below $SLURM_TEST_FOLDER; only processes that this script started, known by their files of pids, are ended.
# /etc/slurm/slurm.conf becomes a link to its configuration, because the executor hides SLURM_CONF from the jobs; where
# that file belongs to another SLURM, the script refuses.
set -euo pipefail

FOLDER=${SLURM_TEST_FOLDER:-/tmp/conceptreel-slurm}
CONF=$FOLDER/slurm.conf
SYSTEM_CONF=/etc/slurm/slurm.conf
SYSTEM_GRES=/etc/slurm/gres.conf
PORT=${SLURM_TEST_PORT:-16817} # and the four after it
NODES=(one two)
MUNGE_SOCKET=$FOLDER/munge/socket
# Tests share the machine with others.
CPUS=$(($(nproc --all) < 2 ? 1 : 2))
MEMORY_MB=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 8 / 10))

die() {
    echo "slurm.sh: $*" >&2
    exit "${STATUS:-1}"
}

# need PROGRAM… -- PACKAGE…: install packages unless the programs are there.
need() {
    local programs=() STATUS=3 # what cannot be had here is no failed test
    while [ "$1" != -- ]; do
        programs+=("$1")
        shift
    done
    shift
    command -v "${programs[@]}" >/dev/null && [ "$(command -v "${programs[@]}" | wc -l)" = ${#programs[@]} ] && return
    [ "$(id -u)" = 0 ] || die "${programs[*]} are missing, and only root can install them"
    command -v apt-get >/dev/null || die "install ${programs[*]} with the system's package manager"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
        >/dev/null || die "${programs[*]} cannot be installed"
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
    ln -sf "$FOLDER/gres.conf" $SYSTEM_GRES
    cat >"$CONF" <<CONF
ClusterName=conceptreel-test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmctldPort=$PORT
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
SelectTypeParameters=CR_Core_Memory,CR_LLN
SchedulerParameters=sched_interval=2,batch_sched_delay=1,sched_min_interval=100000
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool/%n
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmdPidFile=$FOLDER/slurmd-%n.pid
SlurmctldLogFile=$FOLDER/log/slurmctld
SlurmdLogFile=$FOLDER/log/slurmd-%n
ReturnToService=2
MinJobAge=600
KillWait=5
SlurmdTimeout=20
MpiDefault=none
GresTypes=gpu
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    : >"$FOLDER/gres.conf"
    local number=0
    for node in "${NODES[@]}"; do
        install -d -m 755 "$FOLDER/spool/$node"
        number=$((number + 1))
        # The same processors and memory twice: a job that is submitted again asks for more than half of the machine.
        echo "NodeName=$node NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((PORT + number)) CPUs=$CPUS" \
            "RealMemory=$MEMORY_MB Gres=gpu:1 State=UNKNOWN" >>"$CONF"
        echo "NodeName=$node Name=gpu File=/dev/null" >>"$FOLDER/gres.conf" # SLURM wants a file for it
    done
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
    if [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q "${1%%-*}"; then
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

node_answers() { sinfo --noheader --nodes="$1" --format=%T | grep -Eqx 'idle|mixed|allocated'; }

node_up() {
    begin "slurmd-$1" slurmd -D -N "$1"
    await "node $1" node_answers "$1"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A data base of its own, below the folder and on the loopback only, and slurmdbd before it.
accounting_up() {
    local data=$FOLDER/mariadb password
    need mariadbd mariadb-install-db slurmdbd sacct -- mariadb-server slurmdbd slurm-client
    if [ ! -d "$data" ]; then
        install -d -m 755 -o mysql -g mysql "$data"
        mariadb-install-db --no-defaults --datadir="$data" --user=mysql --skip-test-db >"$FOLDER/log/mariadb-install" 2>&1 ||
            STATUS=3 die "a data base cannot be made: $(tail -n 1 "$FOLDER/log/mariadb-install")"
    fi
    password=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
    (umask 077 && cat >"$FOLDER/accounts.sql") <<SQL
CREATE OR REPLACE USER 'slurm'@'127.0.0.1' IDENTIFIED BY '$password';
GRANT ALL ON conceptreel_test.* TO 'slurm'@'127.0.0.1';
SQL
    chown mysql: "$FOLDER/accounts.sql"
    begin mariadbd mariadbd --no-defaults --user=mysql --datadir="$data" --socket="$data/socket" --port=$((PORT + 4)) \
        --bind-address=127.0.0.1 --skip-name-resolve --pid-file="$data/pid" --innodb-buffer-pool-size=64M \
        --innodb-lock-wait-timeout=900 --init-file="$FOLDER/accounts.sql"
    await mariadbd answers $((PORT + 4))
    (umask 077 && cat >"$FOLDER/slurmdbd.conf") <<CONF
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((PORT + 3))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$MUNGE_SOCKET
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((PORT + 4))
StorageUser=slurm
StoragePass=$password
StorageLoc=conceptreel_test
PidFile=$FOLDER/slurmdbd.pid
LogFile=$FOLDER/log/slurmdbd
CONF
    SLURM_CONF=$CONF begin slurmdbd slurmdbd -D # it looks for its own file beside that one
    await slurmdbd answers $((PORT + 3))
    grep -q ^AccountingStorageType "$CONF" || cat >>"$CONF" <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((PORT + 3))
AccountingStoragePass=$MUNGE_SOCKET
CONF
    await "the cluster in the data base" sacctmgr --immediate --quiet add cluster conceptreel-test
    end slurmctld
    begin slurmctld slurmctld -D
    await slurmctld scontrol ping
    for node in "${NODES[@]}"; do
        await "node $node" node_answers "$node"
    done
    await sacct sacct --noheader
}

case "${1:-}" in
start)
    [ "$(id -u)" = 0 ] || die "only root can start slurmd and munged"
    need slurmctld slurmd munged -- slurm-wlm munge
    "$0" stop
    rm -rf "$FOLDER/state" "$FOLDER/spool" "$FOLDER/mariadb"
    configure
    begin munged setpriv --reuid=munge --regid=munge --clear-groups munged --foreground --force \
        --socket="$MUNGE_SOCKET" --key-file="$FOLDER/munge/key" --pid-file="$FOLDER/munge/pid" \
        --log-file="$FOLDER/munge/log" --seed-file="$FOLDER/munge/seed"
    await munged munge --no-input --socket="$MUNGE_SOCKET"
    begin slurmctld slurmctld -D
    await slurmctld scontrol ping
    for node in "${NODES[@]}"; do
        node_up "$node"
    done
    ;;
accounting)
    [ "$(id -u)" = 0 ] || die "only root can start a data base for SLURM"
    accounting_up
    ;;
stop)
    for node in "${NODES[@]}"; do
        end "slurmd-$node"
    done
    end slurmctld
    end slurmdbd
    end mariadbd
    end munged
    [ "$(readlink $SYSTEM_CONF)" != "$CONF" ] || rm -f $SYSTEM_CONF
    [ "$(readlink $SYSTEM_GRES)" != "$FOLDER/gres.conf" ] || rm -f $SYSTEM_GRES
    ;;
node-down) end "slurmd-${2:?which node}" -KILL ;;
node-up) node_up "${2:?which node}" ;;
status) sinfo && squeue ;;
*) die "usage: slurm.sh start|accounting|stop|node-down NODE|node-up NODE|status" ;;
esac
