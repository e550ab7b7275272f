#!/usr/bin/env bash
# Stage 4: train a segmentation network on pseudo masks. Settings: common.sh; LIST (train_aug), NETWORK (deeplab_v2_resnet101;
# BACKBONE with the light recipe), WEIGHTS (imagenet; with the light recipe stage 2's classifier), TARGET_DIR (stage 3's
# masks: DATA_ROOT/pseudo_mask/fused).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
if [[ "${RECIPE:-}" == light ]]; then
  NETWORK="${NETWORK:-$BACKBONE}"
  WEIGHTS="${WEIGHTS:-$LOGDIR/proda_model/classifier.pth}"
fi
last_stage train_seg --list "${LIST:-train_aug}" --network "${NETWORK:-deeplab_v2_resnet101}" \
  --weights "${WEIGHTS:-imagenet}" --target_dir "${TARGET_DIR:-$DATA_ROOT/pseudo_mask/fused}" \
  --out "$LOGDIR/segmenter" "$@"
