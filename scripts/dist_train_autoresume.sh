#!/usr/bin/env bash
# As dist_train.sh, going on from the run's latest checkpoint: when it is started again, and by itself when a process
# crashes or is killed (up to MAX_RESTARTS times, default 3). Exit codes 2, 3, 4, 130 and 143 of basicsr/train.py end the
# run: wrong options, missing data, training that cannot go on, and Ctrl-C would only come again.
#   scripts/dist_train_autoresume.sh NUM_GPU FILE.yml [flags of basicsr/train.py]
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 NUM_GPU FILE.yml [flags of basicsr/train.py]" >&2
  exit 2
fi
MAX_RESTARTS="${MAX_RESTARTS:-3}" exec bash "$(dirname "$0")/dist_train.sh" "$@" --auto_resume
