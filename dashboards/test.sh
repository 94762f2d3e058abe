#!/usr/bin/env bash
# Runs every expression of dashboards, rules and docs on made-up metrics in the Prometheus of the end-to-end suite, and
# draws the dashboards into a folder: dashboards/test.sh [FOLDER]. Needs what e2e/tools/build.sh and rules/test.sh build.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${BELLWETHER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bellwether}
drawn=${1:-}
newest() { # newest PATTERN HINT
  local found
  # shellcheck disable=SC2012,SC2086 # names in the cache are plain, and the pattern is one
  found=$(ls -t $1 2>/dev/null | head -n 1)
  [ -n "$found" ] || { echo "dashboards: $(basename "$1") is not built; run $2" >&2; exit 1; }
  printf '%s\n' "$found"
}
prometheus=$(newest "$cache/tools/prometheus-*/prometheus" e2e/tools/build.sh)
promtool=$(newest "$cache/tools/promtool-*/promtool" rules/test.sh)

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server"; wait "$server"; } 2>/dev/null; rm -rf "$work"' EXIT
port=${PORT:-19090}
end=$(($(date +%s) / 15 * 15))

"$here/python" "$here/madeup.py" "$end" >"$work/metrics"
"$promtool" tsdb create-blocks-from openmetrics --quiet "$work/metrics" "$work/data"
echo '{}' >"$work/prometheus.yaml"
"$prometheus" --config.file="$work/prometheus.yaml" --storage.tsdb.path="$work/data" --log.level=warn --query.lookback-delta=30s \
  --web.listen-address="127.0.0.1:$port" &
server=$!
# Made-up series have no marks of their end, as a scrape leaves them; so what is older than two samples is gone.
for _ in $(seq 50); do
  curl -fsS -o /dev/null "http://127.0.0.1:$port/-/ready" 2>/dev/null && break
  kill -0 "$server" || exit 1
  sleep 0.2
done

status=0
"$here/python" "$here/expressions.py" --namespace shop --canary web --interval 1m --window 1h |
  "$here/python" "$here/execute.py" --url "http://127.0.0.1:$port" --start $((end - 3600)) --end "$end" --step 15 \
    >"$work/results.json" || status=$?
if [ -n "$drawn" ]; then
  mkdir -p "$drawn"
  cp "$work/results.json" "$drawn/results.json"
  "$here/python" "$here/render.py" "$drawn/results.json" --out "$drawn"
fi
exit "$status"
