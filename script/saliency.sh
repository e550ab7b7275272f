#!/usr/bin/env bash
# Before stage 0: saliency maps, where the data set has none. Settings: common.sh; LIST (train_aug),
# MODEL (the network that ships, or an ONNX file), PRESET, OUT (DATA_ROOT/SALImages).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
last_stage saliency LOGDIR LIST MODEL PRESET OUT -- "$@"
