#!/usr/bin/env bash
# Tests the Jenkins library with the Groovy and the interpreter that Jenkins uses.
#   run.sh                                           against a fake server, about a minute
#   run.sh --url URL --token TOKEN --namespace NS --canary C --image-good I --image-bad I
#                                                    against a real one: both images are released
# Needs java, mvn (once, for the tools) and python3.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tools=${BELLWETHER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bellwether}/tools/jenkins-library
artifacts=(org.codehaus.groovy:groovy-all:2.4.21 com.cloudbees:groovy-cps:1.31 com.google.guava:guava:11.0.1)

install_tools() {
    mkdir -p "$tools"
    local artifact jar
    for artifact in "${artifacts[@]}"; do
        jar=$tools/$(echo "$artifact" | awk -F: '{print $2 "-" $3}').jar
        if [ ! -s "$jar" ]; then
            echo "fetching $artifact into the cache, once"
            mvn -q -B dependency:copy "-Dartifact=$artifact" "-DoutputDirectory=$tools"
        fi
        classpath+=$jar:
    done
}

server=
work=$(mktemp -d)
finish() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT

classpath=
install_tools
real=$#
if [ "$real" -eq 0 ]; then
    python3 "$here/fake_hook.py" > "$work/url" &
    server=$!
    for _ in $(seq 100); do
        if [ -s "$work/url" ]; then break; fi
        sleep 0.1
    done
    set -- --url "$(cat "$work/url")" --token s3cret-token-of-the-tests
fi

# The first compiler alone is quicker for a minute of work.
status=0
java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dfile.encoding=UTF-8 "-Dlibrary=$(dirname "$here")" \
    -cp "$classpath$here:$here/stubs" groovy.ui.GroovyMain "$here/main.groovy" "$@" || status=$?
if [ "$real" -eq 0 ] && [ -x "$here/test_promote.sh" ]; then
    "$here/test_promote.sh" "$@" || status=$?
fi
exit "$status"
