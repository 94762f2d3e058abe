#!/usr/bin/env bash
# Checks the rules and runs their tests with promtool of the Prometheus that the end-to-end suite runs.
#
# promtool is built once into the cache, from the suite's own module. It needs one package that Prometheus does not;
# its checksums are in promtool.sum, so that the suite's module, and with it the key of the suite's tools, stays as it is.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
module=$here/../e2e/tools/prometheus
cache=${BELLWETHER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bellwether}
ldflags='-s -w'
tags=remove_all_sd
key=$({ cat "$module/go.mod" "$module/go.sum" "$here/promtool.sum"; printf '%s\n' "$ldflags" "$tags" "$(uname -sm)"; } |
  sha256sum | cut -c1-12)
target=$cache/tools/promtool-$key

if [ ! -x "$target/promtool" ]; then
  command -v go >/dev/null || { echo "rules: go is missing: Go 1.26 or newer, from https://go.dev/dl/" >&2; exit 1; }
  echo "rules: building promtool into $target, once, a minute or two" >&2
  mkdir -p "$cache/tools"
  work=$(mktemp -d "$cache/tools/.building.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/out"
  cp "$module/go.mod" "$work/go.mod"
  cat "$module/go.sum" "$here/promtool.sum" >"$work/go.sum"
  (
    cd "$module"
    CGO_ENABLED=0 GOTOOLCHAIN=${GOTOOLCHAIN:-local} GOFLAGS="-buildvcs=false -trimpath -p=1" \
      go build -modfile="$work/go.mod" -ldflags "$ldflags" -tags "$tags" -o "$work/out/" \
      github.com/prometheus/prometheus/cmd/promtool
  )
  mv -T "$work/out" "$target" 2>/dev/null || [ -x "$target/promtool" ]
  rm -rf "$work"
  trap - EXIT
fi

"$target/promtool" check rules --lint-fatal --lint=all "$here/bellwether.yaml"
"$target/promtool" test rules "$here/tests.yaml"

# Every alert has a page, every page an alert, and every alert a test that it fires and one that it does not.
status=0
alerts=$(sed -n 's/^ *- alert: //p' "$here/bellwether.yaml" | sort -u)
for alert in $alerts; do
  [ -f "$here/../docs/runbooks/$alert.md" ] || { echo "rules: docs/runbooks/$alert.md is missing" >&2; status=1; }
  grep -qx " *- name: $alert fires.*" "$here/tests.yaml" || { echo "rules: no test that $alert fires" >&2; status=1; }
  grep -qx " *- name: $alert does not fire.*" "$here/tests.yaml" || { echo "rules: no test that $alert does not fire" >&2; status=1; }
done
for page in "$here"/../docs/runbooks/Bellwether*.md; do
  grep -qx "$(basename "$page" .md)" <<<"$alerts" || { echo "rules: $page is about no alert" >&2; status=1; }
done
exit "$status"
