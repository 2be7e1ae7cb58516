#!/usr/bin/env bash
# Everything docs/benchmarks.md asks of a GPU, the most wanted first, some 25 minutes on an H200 in all; each part prints as it goes.
#   scripts/bench/on_gpu.sh OUT [OVERLAY]     OVERLAY: folder of the official package; made by pip where it is missing
# PYTHON names the interpreter (python3). The parts named in PARTS alone run, e.g. PARTS="decode head".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2

out=${1:?"usage: scripts/bench/on_gpu.sh OUT [OVERLAY]"}
official=${2:+"--official $2"}
python=${PYTHON:-python3}
parts=${PARTS:-"train06 decode06 lora06 train17 lora17 decode17 finetune head convolutions tests"}
mkdir -p "$out"
export PYTHONUNBUFFERED=1

# 16 and 8 clips at a time for the other ways: they pad and hold all logits, and two processes share the memory.
train="$python scripts/bench/bench_train.py --device cuda --full-depth --compile --no-weighing --mix librispeech --repeats 5"
decode="$python scripts/bench/bench_decode.py --synthetic long-tail --clips 256 --full-depth --device cuda --rows 128 \
--batch-seconds 480 --warm-up 1 --repeats 3"

run() {
    local began=$SECONDS
    echo "== $1: ${*:2}"
    "${@:2}" > "$out/$1.txt" 2>&1 || echo "   ended with status $?: $out/$1.txt"
    grep -E "audio-s/s|TFLOP|targets| ms \(|passed|failed|per_s|utilisation|wait|memory|microbatches" "$out/$1.txt" | cut -c1-220
    echo "   $((SECONDS - began)) s"
}

for part in $parts; do
    # shellcheck disable=SC2086 # commands of several words
    case $part in
        train06) run "$part" $train --clips 160 --batch-seconds 2300 --rows 16 --adapt full $official ;;
        lora06) run "$part" $train --clips 160 --batch-seconds 2300 --rows 16 --adapt lora $official ;;
        train17) run "$part" $train --shape 1.7b --clips 96 --batch-seconds 900 --rows 8 --adapt full ;;
        lora17) run "$part" $train --shape 1.7b --clips 160 --batch-seconds 1500 --rows 8 --adapt lora ;;
        decode06) run "$part" $decode --shape 0.6b --only "generate, manifest" "graphs, manifest" "graphs, sorted, 1920" ;;
        decode17) run "$part" $decode --shape 1.7b --only "generate, manifest" "graphs, manifest" "graphs, sorted, 1920" ;;
        finetune) run "$part" $python scripts/bench/bench_finetune.py --clips 1024 --steps 20 -- adapt=full \
            trainer.compile=true data.batch_seconds=2000 ;;
        head) run "$part" $python scripts/bench/bench_head.py ;;
        convolutions) run "$part" $python scripts/bench/bench_convolutions.py --device cuda --chunks 1024 ;;
        tests) run "$part" $python -m pytest --run-gpu -m gpu -q ;;
        *) echo "unknown part: $part" >&2 && exit 2 ;;
    esac
done
