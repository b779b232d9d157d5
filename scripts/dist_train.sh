#!/usr/bin/env bash
# Trains on several GPUs (without GPUs: several CPU processes), one process each.
#   scripts/dist_train.sh NUM_GPU FILE.yml [flags of basicsr/train.py]
# Several machines: run it on each with NNODES=number and MASTER_ADDR=first machine (MASTER_PORT if 29500 is taken).
# MAX_RESTARTS: how often to start all processes again after one has crashed or was killed (default 0).
# STOP_TIMEOUT: seconds that they have to write a checkpoint when told to stop, before they are killed (default 600).
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 NUM_GPU FILE.yml [flags of basicsr/train.py]" >&2
  exit 2
fi
num_gpu=$1
options=$2
shift 2

meeting=(--standalone)
if [ "${NNODES:-1}" != 1 ]; then
  meeting=(--nnodes "$NNODES" --rdzv_backend c10d --rdzv_endpoint "${MASTER_ADDR:?}:${MASTER_PORT:-29500}"
    --rdzv_id "${RDZV_ID:-$(basename "$options" .yml)}")
fi

# torchrun itself would also try again what the user has to fix, and hide exit codes behind its own: wrong options, say.
exec "${PYTHON:-python}" -m basicsr.engine.launch "${meeting[@]}" --nproc_per_node "$num_gpu" \
  --max_restarts "${MAX_RESTARTS:-0}" ${STOP_TIMEOUT:+--stop_timeout "$STOP_TIMEOUT"} \
  "$(dirname "$0")/../basicsr/train.py" -opt "$options" --launcher pytorch "$@"
