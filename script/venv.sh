# Sourced by demo.sh, test.sh, check.sh and docs.sh: make or reuse a virtual environment. Settings from the environment:
#   PYTHON  interpreter of a new one, 3.10 to 3.14   (python3)
#   VENV    its folder                               (.venv)
unset CDPATH PYTHONHOME
ROOT="$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")"
VENV="${VENV:-$ROOT/.venv}"
if [[ "$VENV" != /* ]]; then VENV="$PWD/$VENV"; fi
MARK="$VENV/.smaf-venv" # names its folder: an environment that was made here, and not moved since
HALF="$VENV/.smaf-half" # while packages are installed: what a stopped installation leaves cannot be trusted

make_venv() { # make_venv EXTRA…: with the project and its optional requirement sets
  mkdir -p "$(dirname "$VENV")"
  (
    if command -v flock >/dev/null; then flock 9; fi # two at once: the second one waits
    open_venv
    install "$VENV/.smaf-installed" -e "$ROOT${1:+[$1]}"
  ) 9>"$VENV.lock"
}

open_venv() { # make VENV where there is none that works, or one of another Python than the one asked for
  local python="${PYTHON:-python3}" there wanted
  there="$(version "$VENV/bin/python" pip)" || there=""
  if [[ -e "$HALF" ]] || [[ -f "$MARK" && ! "$(cat "$MARK")" -ef "$VENV" ]]; then there=""; fi
  if [[ -n "$there" && -z "${PYTHON:-}" ]]; then return; fi
  wanted="$(version "$python" venv)" || wanted="no Python"
  if [[ "$wanted" == "$there" ]]; then return; fi
  if [[ ! "$wanted" =~ ^3\.1[0-4]$ ]]; then
    echo "error: $python is $wanted that serves here: set PYTHON to a Python 3.10 to 3.14 with venv" >&2
    return 2
  fi
  if [[ -e "$VENV" && ! -f "$MARK" && "$VENV" != "$ROOT"/.venv* ]]; then
    echo "error: VENV is $VENV, which was not made here${there:+ and is Python $there}: name another folder" >&2
    return 2
  fi
  if [[ -e "$VENV" ]]; then echo "note: making $VENV again, with Python $wanted" >&2; fi
  rm -rf -- "$VENV"
  mkdir "$VENV"
  echo "$VENV" >"$MARK"
  "$python" -m venv "$VENV"
}

version() { # version PYTHON MODULE: 3.N, where PYTHON runs and has MODULE
  "$1" -c "import $2, sys; print('%d.%d' % sys.version_info[:2])" 2>/dev/null
}

install() { # install STAMP PIP-OPTION…: into VENV, unless STAMP says that the same is there
  local stamp="$1" packages
  shift
  packages="$(cat "$ROOT"/requirements*.txt "$ROOT/pyproject.toml" | cksum) $*"
  if [[ -f "$stamp" && "$(cat "$stamp")" == "$packages" ]]; then return; fi
  touch "$HALF"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
  rm -f -- "$HALF"
  echo "$packages" >"$stamp"
}
