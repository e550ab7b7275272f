#!/usr/bin/env bash
# Between stages 1 and 2, beyond the paper: fused maps refined by edges and saliency. Settings: common.sh; LIST (train_aug).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
run_stage refine_fusion --list "${LIST:-train_aug}" --cam_dir "$LOGDIR/cam_o_vec" --out "$LOGDIR/cam_refined" "$@"
