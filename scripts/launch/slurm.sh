#!/usr/bin/env bash
# One SLURM job on one machine or many: a task for every GPU, started again by SLURM where it was preempted or its time ran out.
#
#   sbatch --nodes=2 scripts/launch/slurm.sh finetune experiment=medical data.train.target.path=m.jsonl out=runs/medical
#   sbatch --gpus-per-node=1 --ntasks-per-node=1 scripts/launch/slurm.sh evaluate model.path=... suite=own out=runs/after
#   DRY_RUN=1 scripts/launch/slurm.sh finetune out=runs/medical     prints the commands, needs no SLURM
#
# Submit from the repository's root. Partition, account, time and memory are your cluster's: give them to sbatch. As many tasks as GPUs.
# LAUNCH=configs/launch/fsdp2.yaml shards (default ddp.yaml; of the file only FSDP and DeepSpeed count, SLURM counts processes).
# PYTHON=... other than .venv/bin/python; MASTER_PORT=... where the one drawn from the job's number is taken.
#
# Asked to stop (SIGTERM 300 s before the time limit, a preemption), training saves after its step and ends with status 75; this script
# then puts the job back into the queue. The repeated job finds the run in out= (or run_dir=) and adds resume=true. Any other status is the job's own.
#SBATCH --job-name=qasr
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@300
#SBATCH --output=slurm-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$PWD}"

readonly SAVED=75 # qasr_train/errors.py: EXIT_INTERRUPTED

fail() {
    echo "error: $1" >&2
    exit 2
}

value_of() { # KEY ARGUMENT...: the last value of KEY among key=value arguments
    local key=$1 argument value=""
    shift
    for argument in "$@"; do
        if [[ $argument == "$key="* ]]; then value=${argument#*=}; fi
    done
    printf '%s' "$value"
}

show() { # a command line that can be pasted into a shell
    printf '%q ' "$@"
    printf '\n'
}

[[ $# -ge 1 ]] || fail "name a recipe first: sbatch scripts/launch/slurm.sh finetune KEY=VALUE ..."
recipe="recipes/$1.py"
shift
[[ -f $recipe ]] || fail "$recipe does not exist in $PWD; the first argument is finetune or evaluate, and sbatch runs in the repository's root"
launch=${LAUNCH:-configs/launch/ddp.yaml}
[[ -f $launch ]] || fail "LAUNCH=$launch does not exist in $PWD"
run_dir=$(value_of out "$@")
run_dir=${run_dir:-$(value_of run_dir "$@")}
[[ -n $run_dir ]] || fail "give out=...: a job that is started again must find the run it goes on with"

arguments=("$@")
if [[ -f $run_dir/run.json && -z $(value_of resume "$@") ]]; then
    arguments+=(resume=true)
fi

python=${PYTHON:-.venv/bin/python}
first_host=$(scontrol show hostnames "${SLURM_JOB_NODELIST:-}" 2>/dev/null | head -n 1) || true
export MASTER_ADDR=${MASTER_ADDR:-${first_host:-127.0.0.1}}
export MASTER_PORT=${MASTER_PORT:-$((10000 + ${SLURM_JOB_ID:-0} % 50000))}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

# --wait: SLURM would otherwise end the others soon after the first task has ended; they say themselves which process was lost.
# --kill-on-bad-exit=0: one task that has saved and ended must not kill those that still end.
step=(srun --kill-on-bad-exit=0 --wait=1800)
if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then step+=(--cpus-per-task="$SLURM_CPUS_PER_TASK"); fi
step+=("$python" scripts/launch/task.py --launch "$launch" "$recipe" "${arguments[@]}")

if [[ ${DRY_RUN:-0} == 1 ]]; then
    show export "MASTER_ADDR=$MASTER_ADDR" "MASTER_PORT=$MASTER_PORT" "OMP_NUM_THREADS=$OMP_NUM_THREADS" "PYTHONPATH=$PYTHONPATH"
    show "${step[@]}"
    exit 0
fi
[[ -n ${SLURM_JOB_ID:-} ]] || fail "this is no SLURM job: submit it with sbatch, or look at its commands with DRY_RUN=1"

"${step[@]}" &
step_pid=$!
was_signalled=0
trap 'was_signalled=1; kill -TERM "$step_pid" 2>/dev/null || true' TERM # srun hands it on to every task
while true; do
    status=0
    wait "$step_pid" || status=$?
    [[ $was_signalled -eq 1 ]] || break
    was_signalled=0 # the signal ended the wait, not the step
done

if [[ $status -eq $SAVED ]]; then
    # A job that was cancelled stays cancelled, and one that is preempted goes back by itself (--requeue).
    state=$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T || true)
    echo "saved on request; the job's state is ${state:-unknown}"
    if [[ $state == RUNNING ]]; then
        scontrol requeue "$SLURM_JOB_ID"
    fi
fi
exit "$status"
