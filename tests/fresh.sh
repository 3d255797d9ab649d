#!/bin/sh
# What a newcomer has: a fresh clone, a PATH of python, make, git and coreutils, no compiler and no
# Node.js (a Python package brings it).
# Runs `make demo ARGS=--once` and `make test` on each Python 3.11 to 3.14 found on this machine,
# as whoever calls it; as root it runs once more as an ordinary user, who is made for it and
# removed afterwards.   tests/fresh.sh [VERSION …]   TARGETS="demo test" by default
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
targets=${TARGETS:-demo test}
folder=$(mktemp -d /tmp/fresh-XXXXXX)
chmod 755 "$folder"
user=""
cleanup() {
  rm -rf "$folder"
  if [ -n "$user" ]; then userdel "$user" 2>/dev/null || true; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Real interpreters: what lies on the PATH and runs, else what a version manager keeps.
interpreter() {
  for candidate in "python$1" /usr/bin/python"$1" /usr/local/bin/python"$1" "$HOME"/.pyenv/versions/"$1".*/bin/python"$1"; do
    real=$("$candidate" -c 'import sys, ensurepip, venv; print(getattr(sys, "_base_executable", sys.executable))' 2>/dev/null) || continue
    echo "$real"
    return 0
  done
  return 1
}

# A PATH that holds only what is named here.
tools() {
  mkdir -p "$folder/bin-$1"
  for tool in make git sh bash env ls cat cp mv rm mkdir rmdir ln touch chmod chown chgrp mktemp \
      head tail sort uniq cut tr wc tee sleep date dirname basename readlink realpath stat id \
      uname whoami nproc true false test expr seq printf echo sed grep awk find xargs install \
      timeout kill ps userdel useradd su setpriv; do
    found=$(command -v "$tool" 2>/dev/null) || continue
    case "$found" in /*) ln -sf "$found" "$folder/bin-$1/$tool" ;; esac
  done
  # A wrapper rather than a link: an interpreter finds its own files beside its real name.
  printf '#!/bin/sh\nexec "%s" "$@"\n' "$2" > "$folder/bin-$1/python$1"
  chmod 755 "$folder/bin-$1/python$1"
}

run_as() { # who, folder of the clone, PATH, home, target…
  who=$1 clone=$2 path=$3 home=$4
  shift 4
  set -- env -i PATH="$path" HOME="$home" LANG=C.UTF-8 CC=/bin/false CXX=/bin/false \
    ${PIP_CERT:+PIP_CERT="$PIP_CERT"} ${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} \
    ${PIP_DEFAULT_TIMEOUT:+PIP_DEFAULT_TIMEOUT="$PIP_DEFAULT_TIMEOUT"} \
    ${PIP_CONFIG_FILE:+PIP_CONFIG_FILE="$PIP_CONFIG_FILE"} \
    ${SSL_CERT_FILE:+SSL_CERT_FILE="$SSL_CERT_FILE"} \
    ${HTTPS_PROXY:+HTTPS_PROXY="$HTTPS_PROXY"} ${https_proxy:+https_proxy="$https_proxy"} \
    ${HTTP_PROXY:+HTTP_PROXY="$HTTP_PROXY"} ${http_proxy:+http_proxy="$http_proxy"} \
    ${NO_PROXY:+NO_PROXY="$NO_PROXY"} ${no_proxy:+no_proxy="$no_proxy"} make -C "$clone" "$@"
  if [ "$who" = "$(id -un)" ]; then "$@"; else
    setpriv --reuid "$(id -u "$who")" --regid "$(id -g "$who")" --clear-groups "$@"
  fi
}

# By way of env: setpriv itself may still start what its new user may not.
runs_for() { # who, interpreter
  setpriv --reuid "$(id -u "$1")" --regid "$(id -g "$1")" --clear-groups \
    env "$2" -c 'import ensurepip, venv' 2>/dev/null
}

one() { # version, interpreter, who
  clone="$folder/clone-$1-$3" home="$folder/home-$1-$3"
  tools "$1" "$2"
  git clone -q "$here" "$clone"
  mkdir -p "$home"
  if [ "$3" != "$(id -un)" ]; then chown -R "$3" "$clone" "$home"; fi
  before=$(cat /etc/passwd /etc/group | cksum)
  modes=$(stat -c '%a %u %n' / /tmp /var /var/lib "$folder" "$HOME" 2>/dev/null | cksum)
  for target in $targets; do
    echo "== Python $1 as $3: make $target"
    case $target in
      demo) run_as "$3" "$clone" "$folder/bin-$1" "$home" demo ARGS=--once ;;
      *) run_as "$3" "$clone" "$folder/bin-$1" "$home" "$target" ;;
    esac
  done
  [ "$before" = "$(cat /etc/passwd /etc/group | cksum)" ] || { echo "a user or group was made"; exit 1; }
  [ "$modes" = "$(stat -c '%a %u %n' / /tmp /var /var/lib "$folder" "$HOME" 2>/dev/null | cksum)" ] \
    || { echo "the mode of a folder that is not ours was changed"; exit 1; }
  rm -rf "$clone" "$home"
}

people=$(id -un)
if [ "$(id -u)" = 0 ] && [ -z "${ONLY_ME:-}" ]; then
  user="kaituan-fresh-$$"
  useradd --no-create-home --shell /bin/sh "$user"
  people="$people $user"
fi
tried=""
for version in ${*:-3.11 3.12 3.13 3.14}; do
  python=$(interpreter "$version") || { echo "== Python $version: none found here"; continue; }
  for who in $people; do
    if [ "$who" != "$(id -un)" ] && ! runs_for "$who" "$python"; then
      # One below root's own folder cannot be run by others; the system's own one can.
      python=/usr/bin/python$version
      runs_for "$who" "$python" || { echo "== Python $version: none here that $who may run"; continue; }
    fi
    one "$version" "$python" "$who"
    tried="$tried $version/$who"
  done
done
[ -n "$tried" ] || { echo "no suitable Python was found"; exit 1; }
echo "Passed:$tried"
