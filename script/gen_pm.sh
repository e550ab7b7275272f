#!/usr/bin/env bash
# Stage 3: pseudo masks, then their mIoU. Settings: common.sh; LIST (train), WEIGHTS (stage 2's classifier),
# OUT (DATA_ROOT/pseudo_mask/fused), EVALUATE (1; 0 where there are no true masks).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
LIST="${LIST:-train}"
words=() # --name=value as two words
for word in "$@"; do
  if [[ "$word" == --*=* ]]; then words+=("${word%%=*}" "${word#*=}"); else words+=("$word"); fi
done
shared=() # options that the evaluation needs, too
name=""
for word in ${words[@]+"${words[@]}"}; do
  case "${name:-$word}" in
    --data_root | --list | --classes | --class_names | --labels | --out)
      if [[ -z "$name" ]]; then name="$word"; continue; fi
      case "$name" in
        --data_root) DATA_ROOT="$word" ;;
        --list) LIST="$word" ;;
        --out) OUT="$word" ;;
        *) shared+=("$name" "$word") ;;
      esac ;;
  esac
  name=""
done
OUT="${OUT:-$DATA_ROOT/pseudo_mask/fused}"
run_stage gen_pm --list "$LIST" --weights "${WEIGHTS:-$LOGDIR/proda_model/classifier.pth}" --out "$OUT" "$@"
if [[ "${EVALUATE:-1}" == 1 ]]; then
  run_stage evaluate --list "$LIST" --pred_dir "$OUT" ${shared[@]+"${shared[@]}"}
fi
