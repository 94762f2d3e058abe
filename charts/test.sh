#!/usr/bin/env bash
# Lints the chart, renders it with every file of ci/, and sees that those of ci/refused/ are refused for the reason in their
# first line. Lines at the top of a file say what the result has, or lacks, and for which version of Kubernetes it is:
#   # has: TEXT
#   # lacks: TEXT
#   # kube-version: 1.28.0
#
#   test.sh [HELM]    the one of the cache if none is named; a kubectl beside it, or in the PATH, builds the kustomizations
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

# notes KIND FILE: what the comments of a file say.
notes() { sed -n "s/^# $1: //p" "$2"; }

render() { # render VALUES
    local version
    version=$(notes kube-version "$1")
    "$helm" template bellwether "$chart" --namespace bellwether --values "$1" \
        ${version:+--kube-version "$version"} > "$work/out" 2> "$work/err"
}

"$here/copies.sh" --check || failed=1
"$here/kustomize.sh" --check "$helm" || failed=1

"$helm" lint --strict "$chart" > "$work/lint" || fail "$(cat "$work/lint")"
# The table of rights, with all that can be granted.
"$helm" template bellwether "$chart" --namespace bellwether --set hook.enabled=true,hook.plaintext=true \
    --show-only templates/rbac.yaml | python3 "$here/rights.py" || failed=1

count=0
for values in "$chart"/ci/*.yaml; do
    count=$((count + 1))
    if ! render "$values"; then
        fail "$values: $(cat "$work/err")"
        continue
    fi
    while read -r text; do
        grep -qF -- "$text" "$work/out" || fail "$values: the result has no $text"
    done < <(notes has "$values")
    while read -r text; do
        ! grep -qF -- "$text" "$work/out" || fail "$values: the result has $text"
    done < <(notes lacks "$values")
done
refused=0
for values in "$chart"/ci/refused/*.yaml; do
    refused=$((refused + 1))
    reason=$(sed -n '1s/^# //p' "$values")
    if render "$values"; then
        fail "$values is not refused"
    elif ! grep -qF -- "$reason" "$work/err"; then
        fail "$values is refused for another reason than $reason: $(cat "$work/err")"
    fi
done
built=0
kubectl=$(dirname "$helm")/kubectl
[ -x "$kubectl" ] || kubectl=$(command -v kubectl || true)
if [ -n "$kubectl" ]; then
    for folder in deploy/kustomize/base examples; do
        built=$((built + 1))
        "$kubectl" kustomize "$here/../$folder" > "$work/out" 2> "$work/err" || fail "$folder: $(cat "$work/err")"
    done
fi
[ "$failed" -eq 0 ] || exit 1
echo "the chart renders with $count files of values and refuses $refused; $built kustomizations build"
