#!/usr/bin/env bash
# Stage 0: the EPS classifier. Settings: common.sh; LIST (train_aug), WEIGHTS (imagenet, or the file of ResNet-38's).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
arguments=(--backbone "$BACKBONE" --list "${LIST:-train_aug}" --out "$LOGDIR/eps_cls_mode")
if [[ -n "${WEIGHTS:-}" ]]; then arguments+=(--weights "$WEIGHTS"); fi
run_stage train_eps "${arguments[@]}" "$@"
