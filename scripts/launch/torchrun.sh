#!/usr/bin/env bash
# Machines without a scheduler: start this once on each, with the same arguments and its own NODE_RANK.
#
#   NUM_NODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 scripts/launch/torchrun.sh finetune experiment=medical out=runs/medical ...
#   DRY_RUN=1 NUM_NODES=2 ... scripts/launch/torchrun.sh finetune ...    prints the command
#
# NUM_NODES (1), NODE_RANK (0), PROCESSES_PER_NODE (as many as GPUs, without one as CPU cores), MASTER_ADDR (127.0.0.1), MASTER_PORT
# (29500), LAUNCH (configs/launch/ddp.yaml; of the file only FSDP and DeepSpeed count), PYTHON (.venv/bin/python), SHUTDOWN_S (600).
# The folders of data and of out= must be the same on all machines.
#
# SIGTERM or Ctrl-C to this script, on one machine, stops all: training saves after its step. torchrun allows its processes
# SHUTDOWN_S seconds for that (by itself 30, too few for a large checkpoint), and always ends with status 1, so look for
# "interrupted after step" in the output. Go on with the same command and resume=true.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
    echo "error: $1" >&2
    exit 2
}

[[ $# -ge 1 ]] || fail "name a recipe first: scripts/launch/torchrun.sh finetune KEY=VALUE ..."
recipe="recipes/$1.py"
shift
[[ -f $recipe ]] || fail "$recipe does not exist; the first argument is finetune or evaluate"
launch=${LAUNCH:-configs/launch/ddp.yaml}
[[ -f $launch ]] || fail "LAUNCH=$launch does not exist in $PWD"
num_nodes=${NUM_NODES:-1}
node_rank=${NODE_RANK:-0}
[[ $num_nodes -eq 1 || -n ${MASTER_ADDR:-} ]] || fail "NUM_NODES=$num_nodes needs MASTER_ADDR=..., the address of machine 0"
[[ $node_rank -lt $num_nodes ]] || fail "NODE_RANK=$node_rank, but there are NUM_NODES=$num_nodes; they are counted from 0"

export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
command=("${PYTHON:-.venv/bin/python}" -m torch.distributed.run --nnodes "$num_nodes" --node-rank "$node_rank"
    --nproc-per-node "${PROCESSES_PER_NODE:-auto}" --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${MASTER_PORT:-29500}"
    --shutdown-timeout "${SHUTDOWN_S:-600}" scripts/launch/task.py --launch "$launch" "$recipe" "$@")

if [[ ${DRY_RUN:-0} == 1 ]]; then
    printf '%q ' "${command[@]}"
    printf '\n'
    exit 0
fi
exec "${command[@]}"
