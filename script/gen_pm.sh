#!/usr/bin/env bash
# Stage 3: pseudo masks, then their mIoU. Settings: common.sh; LIST (train), WEIGHTS (stage 2's classifier),
# OUT (DATA_ROOT/pseudo_mask/fused), EVALUATE (1; 0 where there are no true masks).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
OUT="${OUT:-$DATA_ROOT/pseudo_mask/fused}"
run_stage gen_pm --list "${LIST:-train}" --weights "${WEIGHTS:-$LOGDIR/proda_model/classifier.pth}" --out "$OUT" "$@"
if [[ "${EVALUATE:-1}" == 1 ]]; then run_stage evaluate --list "${LIST:-train}" --pred_dir "$OUT"; fi
