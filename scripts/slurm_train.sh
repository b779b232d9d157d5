#!/usr/bin/env bash
# Trains under Slurm; an example to adapt. From the project folder:
#   sbatch scripts/slurm_train.sh FILE.yml [flags of basicsr/train.py]
#SBATCH --job-name=basicsr
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%j.log
# Two minutes before the time is up, the run is told to write a checkpoint and stop; the job is then queued again and
# goes on from there.
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail

if [ $# -lt 1 ]; then
  echo "usage: sbatch $0 FILE.yml [flags of basicsr/train.py]" >&2
  exit 2
fi
options=$1
shift
cd "${SLURM_SUBMIT_DIR:-.}"

# Jobs on one machine need ports of their own. 10#: a job number that begins with 0 is not octal.
job=${SLURM_JOB_ID:-0}
export MASTER_PORT=${MASTER_PORT:-$((20000 + 10#${job} % 20000))}

code=0
srun --kill-on-bad-exit=1 "${PYTHON:-python}" -u basicsr/train.py -opt "$options" --launcher slurm --auto_resume "$@" ||
  code=$?
if [ "$code" -eq 130 ] || [ "$code" -eq 143 ]; then
  scontrol requeue "$job"
fi
exit "$code"
