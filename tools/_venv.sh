# Sourced by tools/demo and tools/test: make .venv once, reuse it afterwards.

# activate_venv EXTRAS: enter .venv with fastdata and these extras (e.g. "bench,dev") installed.
activate_venv() {
  local root extras stamp wanted
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  extras=$1
  [ -x "$root/.venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$root/.venv"
  # shellcheck disable=SC1091
  source "$root/.venv/bin/activate"
  stamp=$root/.venv/fastdata-$extras.stamp
  wanted=$(cat "$root/pyproject.toml" "$root/tools/constraints.txt" | cksum)
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  echo "installing fastdata[$extras] into .venv" >&2
  # torch comes first and alone: chosen freely, pip takes the newest build with gigabytes of CUDA.
  python -m pip install --quiet --constraint "$root/tools/constraints.txt" torch
  python -m pip install --quiet --constraint "$root/tools/constraints.txt" --editable "$root[$extras]"
  use_headless_opencv_without_libgl
  echo "$wanted" >"$stamp"
}

# opencv-python needs a system libGL; a bare server has none, and the headless build is the same code.
use_headless_opencv_without_libgl() {
  python -c 'import cv2' 2>/dev/null && return
  echo "opencv-python does not load here; taking opencv-python-headless" >&2
  python -m pip uninstall --quiet --yes opencv-python
  python -m pip install --quiet 'opencv-python-headless>=4.11'
  python -c 'import cv2'
}
