#!/usr/bin/env bash
# Tests on several GPUs of this machine; the images are shared among them, the numbers are those of one.
#   scripts/dist_test.sh NUM_GPU FILE.yml [flags of basicsr/test.py]
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 NUM_GPU FILE.yml [flags of basicsr/test.py]" >&2
  exit 2
fi
num_gpu=$1
options=$2
shift 2

exec "${PYTHON:-python}" -m basicsr.engine.launch --standalone --nproc_per_node "$num_gpu" \
  "$(dirname "$0")/../basicsr/test.py" -opt "$options" --launcher pytorch "$@"
