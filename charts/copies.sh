#!/usr/bin/env bash
# Copies into the chart what it packs, because Helm takes nothing from outside of it.
#   copies.sh            writes the copies
#   copies.sh --check    fails if one differs, is missing, or is of a file that is gone
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
files=$here/bellwether/files
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/crds" "$work/dashboards"

cp "$here"/../crds/*.yaml "$work/crds/"
cp "$here"/../deploy/*.yaml "$work/"
cp "$here"/../dashboards/*.json "$work/dashboards/"
cp "$here"/../rules/bellwether.yaml "$work/rules.yaml"

if [ "${1:-}" = --check ]; then
    diff -rq "$work" "$files" && exit
    echo "charts/bellwether/files is not what it is copied from; fix it with: make chart" >&2
    exit 1
fi
rm -rf "$files"
cp -r "$work" "$files"
chmod -R u=rwX,go=rX "$files"
