#!/usr/bin/env bash
# Prepares all that the workflow needs: .venv with the locked packages, and STAR.
#
#   setup.sh                    all of it; quick when there is nothing to do
#   setup.sh --tests            with the tools that the checks need
#   setup.sh --slurm            with what submitting jobs to SLURM needs
#   setup.sh --which-python     only say which Python would be used
#   setup.sh --which-star       only say where STAR would come from
#   setup.sh --lock [OPTION]    write the locks from the .in files; options go to uv
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
# scanpy 1.12 needs 3.12; a dependency of Snakemake, immutables, has no wheel for 3.14 yet
pythons=(3.12 3.13)
# the first STAR that counts GeneFull_Ex50pAS; envs/star.yaml names the tested one
star_minimum=2.7.10a
# the oldest conda that Snakemake accepts
conda_minimum=24.7.1

say() { printf 'set-up: %s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

# at_least VERSION MINIMUM
at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

can_apt_install() { [ "$(id -u)" -eq 0 ] && type -P apt-get >/dev/null; }

apt_install() {
  say "apt-get install $*"
  {
    apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  } >&2
}

# --- Python ---------------------------------------------------------------------------

# .venv is not to be made from itself, so its programs are not looked at
leave_venv() {
  local entry path=
  while IFS= read -r -d : entry; do
    [ "$entry" -ef "$venv/bin" ] || path+=${path:+:}$entry
  done <<<"$PATH:"
  PATH=$path
  unset VIRTUAL_ENV
}

# Where pyenv may keep its Pythons; its folder on PATH tells it without a HOME, too.
pyenv_roots() {
  local shims
  printf '%s\n' "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"
  while IFS= read -r -d : shims; do
    [[ $shims != */shims ]] || printf '%s\n' "${shims%/shims}"
  done <<<"$PATH:"
}

# Every file that may be a Python, one per line, in the order of preference.
python_candidates() {
  local name folder version
  [ -z "${PYTHON:-}" ] || type -P "$PYTHON" || true
  for name in python3 "${pythons[@]/#/python}"; do
    type -aP "$name" || true
  done
  while IFS= read -r folder; do
    for version in "${pythons[@]}"; do
      compgen -G "$folder/versions/$version.*/bin/python$version" || true
    done
  done < <(pyenv_roots)
}

# The minor version; nothing if the file does not run, as a shim of pyenv may not.
python_version() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null </dev/null || true
}

is_fitting() { [[ -n $1 && " ${pythons[*]} " == *" $1 "* ]]; }

is_python_3() { [[ $1 == 3.* ]]; }

# The first candidate whose version passes a test and that can make environments.
first_python() {
  local candidate
  while IFS= read -r candidate; do
    if "$1" "$(python_version "$candidate")" &&
      "$candidate" -c 'import venv, ensurepip' 2>/dev/null </dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done < <(python_candidates)
  return 1
}

# A uv: the one on PATH, else the locked one, for the time of this run.
find_uv() {
  local python
  type -P uv && return
  python=$(first_python is_python_3) || return
  say "fetching uv with $python"
  {
    "$python" -m venv "$scratch/uv" &&
      "$scratch/uv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes -r "$root/envs/uv.txt"
  } >&2 && printf '%s\n' "$scratch/uv/bin/uv"
}

# A Python that uv fetches, into the folder where uv keeps its own.
uv_python() {
  local uv
  uv=$(find_uv) || return
  say "fetching Python ${pythons[0]} with $uv"
  # without the variable uv would also put a link into ~/.local/bin
  UV_PYTHON_INSTALL_BIN=0 "$uv" python install "${pythons[0]}" >&2 &&
    "$uv" python find --no-project "${pythons[0]}"
}

find_python() {
  local wanted="Python ${pythons[0]} or ${pythons[1]}" found
  found=$(first_python is_fitting) || found=
  if [ -z "$found" ] && ! first_python is_python_3 >/dev/null && can_apt_install; then
    apt_install python3-venv || true
    found=$(first_python is_fitting) || found=
  fi
  [ -n "$found" ] || found=$(uv_python) || found=
  if [ -z "$found" ] && first_python is_python_3 >/dev/null; then
    fail "no $wanted was found and uv could not fetch one: install one with its venv" \
      "module, or name one by PYTHON=/path/to/python${pythons[0]}, and try again."
  elif [ -z "$found" ]; then
    fail "no Python 3 with its venv module was found: install them" \
      "(Debian and Ubuntu: sudo apt-get install python3-venv) and try again."
  fi
  if [ -n "${PYTHON:-}" ] && [ "$found" != "$(type -P "$PYTHON")" ]; then
    say "PYTHON=$PYTHON is no $wanted with its venv module, so $found is used"
  fi
  printf '%s\n' "$found"
}

# --- .venv ----------------------------------------------------------------------------

# A moved .venv does not work: its programs name the folder that they were made in.
is_venv_good() {
  is_fitting "$(python_version "$venv/bin/python")" &&
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 &&
    [[ $(grep '^command = ' "$venv/pyvenv.cfg") == *" $venv" ]]
}

make_venv() {
  local python
  is_venv_good && return
  python=$(find_python)
  say "making .venv with $python"
  "$python" -m venv --clear "$venv" || fail "$python could not make $venv."
}

# install_packages FILE: unless the stamp says that exactly these are there
install_packages() {
  local file=$1 stamp total
  stamp=$venv/.installed-${file//\//-}
  [ "$(cat "$stamp" 2>/dev/null)" != "$(sha256sum <"$root/$file")" ] || return 0
  total=$(grep -c '^[A-Za-z0-9]' "$root/$file")
  say "installing up to $total packages of $file"
  rm -f "$stamp"
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-input \
    --require-hashes -r "$root/$file" | show_progress ||
    fail "the packages of $file could not be installed, for the reason above."
  sha256sum <"$root/$file" >"$stamp"
}

show_progress() {
  awk '
    /^(Collecting|Requirement already satisfied)/ && ++n % 25 == 0 { print "  " n }
    /^Installing collected packages/ { print "  " n ", now unpacking" }
    { fflush() }' >&2
}

# --- STAR -----------------------------------------------------------------------------

star_version() { "$1" --version 2>/dev/null </dev/null || true; }

find_on_path() { PATH=$venv/bin:$PATH type -P "$1" || true; }

# Prints where STAR comes from: "path FILE", "conda FILE" or "apt-get".
find_star() {
  local star conda version
  star=$(find_on_path STAR)
  if [ -n "$star" ]; then
    version=$(star_version "$star")
    if [ -n "$version" ] && at_least "$version" "$star_minimum"; then
      printf 'path %s\n' "$star"
      return
    fi
    say "$star has version ${version:-unknown}, but $star_minimum or newer is needed"
  fi
  conda=$(find_on_path conda)
  if [ -n "$conda" ]; then
    version=$("$conda" --version 2>/dev/null </dev/null) || version=
    version=${version##* }
    if [ -n "$version" ] && at_least "$version" "$conda_minimum"; then
      printf 'conda %s\n' "$conda"
      return
    fi
    say "$conda has version ${version:-unknown}, but $conda_minimum or newer is needed"
  fi
  can_apt_install || fail "no STAR $star_minimum or newer was found: install it" \
    "(Debian and Ubuntu: sudo apt-get install rna-star; or install conda" \
    "$conda_minimum or newer, which then brings it) and try again."
  printf 'apt-get\n'
}

install_star() {
  local choice star
  choice=$(find_star)
  case $choice in
    conda*)
      say "installing STAR from envs/star.yaml with ${choice#conda }"
      rm -rf "$venv/star"
      "${choice#conda }" env create --quiet --prefix "$venv/star" \
        --file "$root/envs/star.yaml" >&2 ||
        fail "conda could not install STAR, for the reason above."
      ln -sf ../star/bin/STAR "$venv/bin/STAR"
      ;;
    apt-get)
      apt_install rna-star ||
        fail "apt-get could not install rna-star, for the reason above."
      ;;
  esac
  star=$(find_on_path STAR)
  if [ -z "$star" ] || ! at_least "$(star_version "$star")" "$star_minimum"; then
    fail "STAR was installed, but it does not run or is older than $star_minimum."
  fi
}

# --------------------------------------------------------------------------------------

set_up() {
  local star
  make_venv
  install_packages envs/requirements.txt
  [ "${1:-}" != --tests ] || install_packages tests/requirements.txt
  [ "${1:-}" != --slurm ] || install_packages envs/slurm.txt
  install_star
  "$venv/bin/python" -c '
import platform
from importlib.metadata import version
names = ["snakemake", "scanpy", "anndata", "pydeseq2"]
print("Python", platform.python_version(), *(f"· {name} {version(name)}" for name in names))
'
  star=$(find_on_path STAR)
  printf 'STAR %s · %s\n' "$(star_version "$star")" "$star"
}

# lock_file IN OUT OPTION...
lock_file() {
  say "writing $2"
  "$uv" pip compile --quiet --universal --python-version "${pythons[0]}" \
    --generate-hashes --no-emit-index-url --no-header "$1" --output-file "$2" "${@:3}"
}

lock() {
  local uv
  uv=$(find_uv) || fail "uv was not found and could not be fetched: install it and try again."
  cd "$root"
  lock_file envs/requirements.in envs/requirements.txt "$@"
  lock_file tests/requirements.in tests/requirements.txt -c envs/requirements.txt "$@"
  lock_file envs/slurm.in envs/slurm.txt -c envs/requirements.txt "$@"
  lock_file envs/uv.in envs/uv.txt "$@"
  lock_file envs/sbom.in envs/sbom.txt "$@"
}

leave_venv
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

case ${1:-} in
  '' | --tests | --slurm) set_up "$@" ;;
  --which-python) find_python ;;
  --which-star) find_star ;;
  --lock) lock "${@:2}" ;;
  *) fail "unknown option $1: the first lines of envs/setup.sh list them all." ;;
esac
