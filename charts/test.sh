#!/usr/bin/env bash
# Lints the chart, renders it with every file of ci/, and sees that those of ci/refused/ are refused for the reason in their
# first line.
#   test.sh [HELM]    the one of the cache if none is named
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
chart=$here/bellwether
helm=${1:-}
[ -n "$helm" ] || helm=$("$here/../e2e/tools/build.sh")/helm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HELM_CACHE_HOME=$work HELM_CONFIG_HOME=$work HELM_DATA_HOME=$work
failed=0

fail() {
    printf '%s\n' "$*" >&2
    failed=1
}

# The chart has copies, because Helm packs nothing from outside; `make chart` writes them.
same() { # same FROM TO
    cmp -s "$here/../$1" "$chart/files/$2" || fail "$chart/files/$2 differs from $1; mend with: make chart"
}
for file in "$here"/../crds/*.yaml; do same "crds/${file##*/}" "crds/${file##*/}"; done
for file in "$here"/../deploy/*.yaml; do same "deploy/${file##*/}" "${file##*/}"; done
for file in "$here"/../dashboards/*.json; do same "dashboards/${file##*/}" "dashboards/${file##*/}"; done
same rules/bellwether.yaml rules.yaml

"$helm" lint --strict "$chart" > "$work/lint" || fail "$(cat "$work/lint")"
count=0
for values in "$chart"/ci/*.yaml; do
    count=$((count + 1))
    if ! "$helm" template bellwether "$chart" --namespace bellwether --values "$values" > "$work/out" 2> "$work/err"; then
        fail "$values: $(cat "$work/err")"
    fi
done
refused=0
for values in "$chart"/ci/refused/*.yaml; do
    refused=$((refused + 1))
    reason=$(sed -n '1s/^# //p' "$values")
    if "$helm" template bellwether "$chart" --values "$values" > /dev/null 2> "$work/err"; then
        fail "$values is not refused"
    elif ! grep -qF -- "$reason" "$work/err"; then
        fail "$values is refused for another reason than $reason: $(cat "$work/err")"
    fi
done
[ "$failed" -eq 0 ] || exit 1
echo "the chart renders with $count files of values and refuses $refused"
