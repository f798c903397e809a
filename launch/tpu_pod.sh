#!/usr/bin/env bash
# Training on a Cloud TPU slice, from creating it to deleting it, by `gcloud compute tpus tpu-vm`.
#
#   launch/tpu_pod.sh create  --name=r3jax --zone=us-west4-a --type=v5litepod-32
#   launch/tpu_pod.sh install --name=r3jax --zone=us-west4-a
#   launch/tpu_pod.sh run     --name=r3jax --zone=us-west4-a -- \
#       --config=configs/rgrpo_tpu.py:v5e-32 --workdir=gs://mine/runs/rgrpo
#   launch/tpu_pod.sh follow  --name=r3jax --zone=us-west4-a
#   launch/tpu_pod.sh stop    --name=r3jax --zone=us-west4-a
#   launch/tpu_pod.sh delete  --name=r3jax --zone=us-west4-a
#
# `run` goes on where a run of the same workdir stopped. `stop` saves and ends it.
#
#   --project=P   of Google Cloud; default: gcloud's own
#   --version=V   runtime of the machines; default: chosen by --type
#   --spot        create: cheaper, and may be taken away; the run then saves first
#   --mount=H:/P  install: an NFS export, mounted at /mnt/shared on all hosts
#   --cache=DIR   run: keeps what is compiled there for the next start
#   --dry-run     print the commands instead
set -euo pipefail

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
}

fail() {
    echo "tpu_pod.sh: $*" >&2
    exit 1
}

# Runs a command, or prints it as it could be typed.
call() {
    if [ "$dry_run" = yes ]; then
        local word line=''
        for word in "$@"; do
            [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]] || word=${word@Q}
            line+="$word "
        done
        echo "${line% }"
    else
        "$@"
    fi
}

# tpu VERB [MORE...]: gcloud on the slice.
tpu() {
    local verb=$1
    shift
    call gcloud compute tpus tpu-vm "$verb" "$name" --zone="$zone" "${project[@]}" "$@"
}

# on WHICH COMMAND: a shell command on a host, or on all.
on() {
    tpu ssh --worker="$1" --command="$2"
}

# The machines' runtime that goes with a type of slice.
runtime_for() {
    case $1 in
        v4-*) echo tpu-ubuntu2204-base ;;
        v5litepod-*) echo v2-alpha-tpuv5-lite ;;
        v5p-*) echo v2-alpha-tpuv5 ;;
        v6e-*) echo v2-alpha-tpuv6e ;;
        *) fail "--type=$1: expected v4-N, v5litepod-N, v5p-N or v6e-N; name its runtime by --version" ;;
    esac
}

create() {
    [ -n "$type" ] || fail "create needs --type, such as v5litepod-32"
    [ -n "$version" ] || version=$(runtime_for "$type")
    tpu create --accelerator-type="$type" --version="$version" "${spot[@]}"
}

install() {
    local archive=r3jax.tar.gz root
    root=$(cd "$(dirname "$0")/.." && pwd)
    call git -C "$root" archive --format=tar.gz --output="/tmp/$archive" HEAD
    call gcloud compute tpus tpu-vm scp "/tmp/$archive" "$name:$archive" --zone="$zone" \
        "${project[@]}" --worker=all
    if [ -n "$mount" ]; then
        on all "set -e; sudo apt-get install -y nfs-common; sudo mkdir -p /mnt/shared
mountpoint -q /mnt/shared || sudo mount -t nfs $mount /mnt/shared"
    fi
    # The machines' own Python is older than 3.11.
    on all "set -e; mkdir -p r3jax; tar -xzf $archive -C r3jax; cd r3jax
curl -LsSf https://astral.sh/uv/install.sh | sh
~/.local/bin/uv venv --allow-existing --python 3.11 .venv
~/.local/bin/uv pip install --python .venv/bin/python -e '.[tpu,gcs]'"
}

run() {
    [ ${#flags[@]} -gt 0 ] || fail "run needs the flags of launch/train.py after --"
    local kept=''
    [ -z "$cache" ] || kept="JAX_COMPILATION_CACHE_DIR=${cache@Q} "
    on all "set -e; cd r3jax
if [ -e run.pid ] && kill -0 \$(cat run.pid) 2>/dev/null; then echo 'a run is going on' >&2; exit 1; fi
${kept}nohup .venv/bin/python launch/train.py ${flags[*]@Q} > run.log 2>&1 < /dev/null &
echo \$! > run.pid"
}

follow() {
    on 0 "tail -n 100 -F r3jax/run.log"
}

stop() {
    # Every host waits until its own process has saved and ended.
    on all "set -e; cd r3jax; pid=\$(cat run.pid); kill -TERM \$pid 2>/dev/null || true
while kill -0 \$pid 2>/dev/null; do sleep 1; done; tail -n 1 run.log"
}

delete() {
    tpu delete --quiet
}

[ $# -gt 0 ] || { usage >&2; exit 1; }
command=$1
shift
name='' zone='' type='' version='' mount='' cache='' dry_run=no
project=() spot=() flags=()
while [ $# -gt 0 ]; do
    case $1 in
        --name=*) name=${1#*=} ;;
        --zone=*) zone=${1#*=} ;;
        --type=*) type=${1#*=} ;;
        --version=*) version=${1#*=} ;;
        --mount=*) mount=${1#*=} ;;
        --cache=*) cache=${1#*=} ;;
        --project=*) project=("$1") ;;
        --spot) spot=(--spot) ;;
        --dry-run) dry_run=yes ;;
        --) shift; flags=("$@"); break ;;
        *) fail "$1 is no option: see $0 help" ;;
    esac
    shift
done
case $command in
    create | install | run | follow | stop | delete)
        [ -n "$name" ] && [ -n "$zone" ] || fail "$command needs --name and --zone"
        "$command"
        ;;
    help | --help | -h) usage ;;
    *) fail "$command: expected create, install, run, follow, stop, delete or help" ;;
esac
