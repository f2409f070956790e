#!/usr/bin/env bash
# Sets up .venv beside this file on first use, then runs a command of seq2seq_jax with it.
#
#   ./launch.sh                 the quickstart: trains, compares and reports four attention variants
#   ./launch.sh test [...]      linter, type checker, tests; further arguments go to pytest
#   ./launch.sh VERB [flags]    python -m seq2seq_jax VERB [flags]; --help lists the verbs
#
# SEQ2SEQ_JAX_ACCELERATOR=cpu|cuda|tpu chooses the JAX that is installed; otherwise cuda where an
# NVIDIA GPU is visible. PYTHON=/path/to/python chooses the interpreter of a new .venv.
set -euo pipefail

script="$(readlink -f "${BASH_SOURCE[0]}" 2>/dev/null || printf '%s' "${BASH_SOURCE[0]}")"
root="$(cd -P "$(dirname "$script")" && pwd)"
venv="$root/.venv"
stamp="$venv/seq2seq_jax.lock"    # copy of the lock that was installed completely
unfinished="$venv/seq2seq_jax.unfinished"  # there from the first step of a set-up to its last

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The lock file to install from. A set-up for CUDA is kept without asking the driver again.
choose_lock() {
  local accelerator="${SEQ2SEQ_JAX_ACCELERATOR:-}"
  if [[ -z $accelerator ]]; then
    accelerator=cpu
    if cmp -s "$root/requirements.cuda.lock" "$stamp" ||
      { command -v nvidia-smi && nvidia-smi -L | grep '^GPU'; } >/dev/null 2>&1; then
      accelerator=cuda
    fi
  fi
  case $accelerator in
    cpu) lock="$root/requirements.lock" ;;
    cuda | tpu) lock="$root/requirements.$accelerator.lock" ;;
    *) die "SEQ2SEQ_JAX_ACCELERATOR=$accelerator: choose cpu, cuda or tpu" ;;
  esac
}

is_ready() { [[ -x $venv/bin/python && ! -e $unfinished ]] && cmp -s "$lock" "$stamp"; }

find_python() {
  local candidate seen=""
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python="$(command -v "$candidate")"
      return
    fi
    seen+="$("$candidate" -c 'import sys; print(" (%s is %d.%d)" % ((sys.argv[1],) + sys.version_info[:2]))' \
      "$candidate" 2>/dev/null || true)"
  done
  die "Python 3.11 or newer is needed and was not found$seen." \
    "Install it, or name it: PYTHON=/path/to/python $0"
}

make_venv() {
  say "making $venv with $("$python" --version)"
  mkdir -p "$venv"
  : >"$unfinished"
  # uv needs no pip inside, and a venv without it needs no further system package.
  local options=()
  if command -v uv >/dev/null; then options=(--without-pip); fi
  "$python" -m venv ${options[@]+"${options[@]}"} "$venv" >&2 ||
    die "$python cannot make a virtual environment." \
      "On Debian and Ubuntu its package is missing: apt install python3-venv"
}

# uv of the system, or one from pip inside .venv; empty where neither can be had.
find_uv() {
  uv="$(command -v uv || true)"
  if [[ -z $uv ]]; then
    uv="$venv/tools/bin/uv"
    [[ -x $uv ]] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
      --target "$venv/tools" uv >&2 || uv=""
  fi
}

install_packages() {
  say "installing the packages of ${lock##*/}"
  : >"$unfinished"
  find_uv
  if [[ -n $uv ]]; then
    # uv does not read pip's settings of where packages come from.
    UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-${PIP_INDEX_URL:-}}}"
    if [[ -n $UV_DEFAULT_INDEX ]]; then export UV_DEFAULT_INDEX; else unset UV_DEFAULT_INDEX; fi
    "$uv" pip install --python "$venv/bin/python" --require-hashes -r "$lock" >&2 && return
    say "uv could not install them; trying pip"
  fi
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
    "$venv/bin/python" -m ensurepip >/dev/null 2>&1 || true
  "$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes -r "$lock" >&2 ||
    die "the packages could not be installed (see above); the same command tries again"
}

set_up() {
  # One set-up at a time; whoever waited finds it done.
  if command -v flock >/dev/null; then
    exec 9<"$root"
    flock 9
  fi
  is_ready && return
  local started=$SECONDS
  # A set-up that was cut short may have left half a package behind.
  if [[ -e $unfinished || (-e $venv && ! -x $venv/bin/python) ]]; then
    say "an earlier set-up was not finished: starting afresh"
    rm -rf "$venv"
  fi
  find_python
  [[ -x $venv/bin/python ]] || make_venv
  install_packages
  cp "$lock" "$stamp"
  rm -f "$unfinished"
  say "set up in $((SECONDS - started)) s"
  exec 9<&-
}

choose_lock
is_ready || set_up

export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
# -P: files in the current folder never hide a module.
run=("$venv/bin/python" -P -m)

# An update on a CPU takes and frees hundreds of MiB. glibc would give them back to the kernel and
# fetch them anew, page by page, each time; so it keeps them, in large pages. See benchmarks/.
# Tests, which compile more than they compute, would lose by it. Training of wide models adds one
# arena for all threads: seq2seq_jax/processor.py.
[[ ${1:-} == test ]] || export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=67108864:glibc.malloc.hugetlb=1}"

case "${1:-}" in
  "")
    status=0
    "${run[@]}" seq2seq_jax sweep --config=configs/quickstart.py --workdir=runs/quickstart \
      --workers=2 || status=$?
    "${run[@]}" seq2seq_jax report --workdir=runs/quickstart
    exit $status
    ;;
  test)
    shift
    cd "$root"
    "${run[@]}" ruff check
    "${run[@]}" ruff format --check
    "${run[@]}" ty check --python "$venv"
    status=0
    "${run[@]}" pytest -n 2 --dist loadfile --no-loadscope-reorder "$@" || status=$?
    say "tests took $SECONDS s"
    exit $status
    ;;
  *) exec "${run[@]}" seq2seq_jax "$@" ;;
esac
