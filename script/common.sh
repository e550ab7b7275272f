# Sourced by the stages' wrappers. Settings from the environment:
#   DATA_ROOT  data set in VOC layout          (dataset/VOC2012)
#   LOGDIR     where stages write              (smaf/logdir)
#   BACKBONE   resnet38 or a timm model        (resnet38)
#   RECIPE     folder below script/recipes     (light for tf_efficientnet_lite0, none otherwise)
#   DEVICE     auto, cpu, cuda or mps          (auto)
#   CLASSES    file of class names to keep     (all)
#   NPROC      processes, one a GPU            (1)
#   PYTHON     the interpreter                 (.venv's, else python3)
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
DATA_ROOT="${DATA_ROOT:-$ROOT/dataset/VOC2012}"
LOGDIR="${LOGDIR:-$ROOT/smaf/logdir}"
BACKBONE="${BACKBONE:-resnet38}"
DEVICE="${DEVICE:-auto}"
if [[ -z "${RECIPE:-}" && "$BACKBONE" == tf_efficientnet_lite0 ]]; then RECIPE=light; fi
if [[ -z "${PYTHON:-}" ]]; then
  PYTHON=python3
  if [[ -x "$ROOT/.venv/bin/python" ]]; then PYTHON="$ROOT/.venv/bin/python"; fi
fi

run_stage() { # run_stage STAGE OPTION…: with the recipe's options first, so that later ones win
  local stage="$1" computes=1 launch=("$PYTHON" -m) recipe="$ROOT/script/recipes/${RECIPE:-none}/$1.args" options=()
  shift
  case "$stage" in evaluate | refine_fusion) computes=0 ;; esac # no network in them
  if [[ "${NPROC:-1}" -gt 1 && $computes == 1 && "$stage" != test_seg ]]; then # test_seg has one process for the network
    launch=("$PYTHON" -m torch.distributed.run --nproc_per_node "$NPROC" -m)
  fi
  if [[ -n "${RECIPE:-}" && -f "$recipe" ]]; then options+=("@$recipe"); fi
  options+=(--data_root "$DATA_ROOT")
  if [[ -n "${CLASSES:-}" ]]; then options+=(--classes "$CLASSES"); fi
  if [[ $computes == 1 ]]; then options+=(--device "$DEVICE"); fi
  "${launch[@]}" "smaf.$stage" "${options[@]}" "$@"
}
