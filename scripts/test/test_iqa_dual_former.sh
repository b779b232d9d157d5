#!/usr/bin/env bash
# DualFormer (spatial and spectral Swin discriminators) on LIVE-itW, KonIQ-10k and PIPAL; see run_iqa_sets.sh.
exec bash "$(dirname "${BASH_SOURCE[0]}")/run_iqa_sets.sh" "${EXPERIMENT:-train_esrgan_x4_sgd_dual_former}" "$@"
