#!/usr/bin/env bash
# Scores LIVE-itW, KonIQ-10k and PIPAL with one run's critics, by the paper's protocol.
#
#   bash scripts/test/run_iqa_sets.sh EXPERIMENT [flags of scripts/test_iqa.py]
#
# Images and opinions are expected in IQA_ROOT (default datasets/IQA):
#   LIVE-itW/images   LIVE-itW/guide.txt
#   KonIQ-10k/images  KonIQ-10k/guide.txt
#   PIPAL/images      PIPAL/{TradSR,PsnrSR,GANbSR,all}.txt
# SETS names the sets to score (default: all). A set that is missing or has unusable files does not stop the others;
# the exit status is 3 then. Ctrl-C stops all.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

experiment=${1:?usage: run_iqa_sets.sh EXPERIMENT [flags of scripts/test_iqa.py]}
shift
root=${IQA_ROOT:-datasets/IQA}
python=${PYTHON:-python}
status=0

for name in ${SETS:-LIVE-itW KonIQ-10k PIPAL-TradSR PIPAL-PsnrSR PIPAL-GANbSR PIPAL-all}; do
    case $name in
    PIPAL-all) folder=PIPAL guide=all.txt preset=PIPAL ;;
    PIPAL-*) folder=PIPAL guide=${name#PIPAL-}.txt preset=$name ;;
    *) folder=$name guide=guide.txt preset=$name ;;
    esac
    echo "== $name"
    "$python" scripts/test_iqa.py \
        --experiment_name "$experiment" \
        --test_set "$root/$folder/images" \
        --test_set_guider "$root/$folder/$guide" \
        --test_set_name "$name" \
        --preset "$preset" \
        "$@"
    case $? in
    0) ;;
    130) exit 130 ;; # Ctrl-C is meant for all sets
    *) status=3 ;;
    esac
done
exit $status
