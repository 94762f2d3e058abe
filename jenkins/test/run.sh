#!/usr/bin/env bash
# Tests the Jenkins library with the Groovy and the interpreter that Jenkins uses.
#   run.sh                                           against a fake server, about a minute
#   run.sh --url URL --token TOKEN --namespace NS --canary C --image-good I --image-bad I
#                                                    against a real one: both images are released
# Needs java, mvn (once, for the tools) and python3.
set -euo pipefail

if [ $# -ne 0 ] && [ $# -ne 12 ]; then
    echo "usage: run.sh [--url URL --token TOKEN --namespace NS --canary C --image-good I --image-bad I]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
tools=${BELLWETHER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bellwether}/tools/jenkins-library
# Jenkins' Groovy and interpreter; and the last pair of interpreter and sandbox that fit together and can be had.
common=(org.codehaus.groovy:groovy-all:2.4.21 com.google.guava:guava:11.0.1)
plain=("${common[@]}" com.cloudbees:groovy-cps:1.31)
sandboxed=("${common[@]}" com.cloudbees:groovy-cps:1.24 org.kohsuke:groovy-sandbox:1.19)

install_tools() {
    mkdir -p "$tools"
    local artifact jar
    classpath=
    for artifact in "$@"; do
        jar=$tools/$(echo "$artifact" | awk -F: '{print $2 "-" $3}').jar
        if [ ! -s "$jar" ]; then
            echo "fetching $artifact into the cache, once"
            mvn -q -B dependency:copy "-Dartifact=$artifact" "-DoutputDirectory=$tools" > /dev/null
        fi
        classpath+=$jar:
    done
}

# The first compiler alone is quicker for a minute of work.
play() {
    java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dfile.encoding=UTF-8 "-Dlibrary=$(dirname "$here")" "$1" \
        -cp "$classpath$here:$here/stubs" groovy.ui.GroovyMain "$here/main.groovy" "${@:2}"
}

server=
work=$(mktemp -d)
# shellcheck disable=SC2329 # called by trap
finish() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT

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

status=0
if [ "$real" -eq 0 ]; then
    "$here/test_promote.sh" > "$work/promote" 2>&1 &
    promote=$!
fi
install_tools "${plain[@]}"
play -Dsandbox=false "$@" || status=$?
if [ "$real" -eq 0 ]; then
    echo "in the sandbox"
    install_tools "${sandboxed[@]}"
    play -Dsandbox=true "$@" || status=$?
    echo "without Jenkins"
    wait "$promote" || status=$?
    cat "$work/promote"
fi
exit "$status"
