#!/usr/bin/env bash
# Stage 2: self-training. Settings: common.sh; LIST (train_aug), WEIGHTS (stage 0's classifier).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
run_stage train_fusion --list "${LIST:-train_aug}" --weights "${WEIGHTS:-$LOGDIR/eps_cls_mode/classifier.pth}" \
  --cam_dir "$LOGDIR/cam_o_vec" --out "$LOGDIR/proda_model" "$@"
