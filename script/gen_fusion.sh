#!/usr/bin/env bash
# Stage 1: fused maps. Settings: common.sh; LIST (train_aug), WEIGHTS (stage 0's classifier).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
run_stage gen_fusion --list "${LIST:-train_aug}" --weights "${WEIGHTS:-$LOGDIR/eps_cls_mode/classifier.pth}" \
  --out "$LOGDIR/cam_o_vec" "$@"
