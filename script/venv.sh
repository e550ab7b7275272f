# Sourced by demo.sh and test.sh: make or reuse .venv, install the project and, where it builds, the dense CRF.
# PYTHON names the interpreter (3.10 to 3.13) for a new .venv; VENV its folder.
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${VENV:-$ROOT/.venv}"

make_venv() { # make_venv EXTRA…: the optional requirement sets to install
  local stamp="$VENV/.smaf-installed" wanted
  wanted="$(cat "$ROOT"/requirements*.txt "$ROOT/pyproject.toml" | cksum) $*"
  if [[ ! -x "$VENV/bin/python" ]]; then
    "${PYTHON:-python3}" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || {
      echo "error: ${PYTHON:-python3} is not Python 3.10 to 3.13: set PYTHON to one that is" >&2
      return 2
    }
    "${PYTHON:-python3}" -m venv "$VENV"
  fi
  if [[ ! -f "$stamp" || "$(cat "$stamp")" != "$wanted" ]]; then
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -e "$ROOT${1:+[$1]}"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r "$ROOT/requirements-crf.txt" ||
      echo "note: pydensecrf2 does not build here (it needs a C++ compiler): masks are made without dense CRF" >&2
    echo "$wanted" >"$stamp"
  fi
}
