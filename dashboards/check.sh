#!/usr/bin/env bash
# Compares the committed dashboards with what their source makes. Ends with 1 if they differ, or if it cannot be told.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
if ! "$here/python" "$here/generate.py" "$made"; then
  echo "dashboards: not checked, see above" >&2
  exit 1
fi
status=0
for file in canary.json fleet.json controller.json; do
  diff -u "$here/$file" "$made/$file" || status=1
done
if [ "$status" -ne 0 ]; then
  echo "dashboards: the JSON is not what the source makes; mend with: dashboards/python dashboards/generate.py" >&2
fi
exit "$status"
