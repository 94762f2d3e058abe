#!/usr/bin/env bash
# Tests the Jenkins library with the Groovy and the interpreter that Jenkins uses.
#   run.sh                                           against a fake server, about a minute
#   run.sh --url URL --token TOKEN --namespace NS --canary C --image-good I --image-bad I
#                                                    against a real one: both images are released
#   run.sh --fetch                                   fills the cache and tests nothing: after it no network is needed
# Needs java, mvn (once, for the tools) and python3 (for the fake server).
set -euo pipefail

if [ $# -ne 0 ] && [ $# -ne 12 ] && [ "$*" != --fetch ]; then
    echo "usage: run.sh [--fetch | --url URL --token TOKEN --namespace NS --canary C --image-good I --image-bad I]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
tools=${BELLWETHER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bellwether}/tools/jenkins-library
# Jenkins' Groovy and interpreter; and the last pair of interpreter and sandbox that fit together and can be had.
common=(org.codehaus.groovy:groovy-all:2.4.21 com.google.guava:guava:11.0.1)
plain=("${common[@]}" com.cloudbees:groovy-cps:1.31)
sandboxed=("${common[@]}" com.cloudbees:groovy-cps:1.24 org.kohsuke:groovy-sandbox:1.19)

need() { # need COMMAND HINT
    if ! command -v "$1" > /dev/null; then
        echo "the tests of the Jenkins library need $1: $2" >&2
        exit 1
    fi
}

install_tools() {
    mkdir -p "$tools"
    local artifact jar said
    classpath=
    for artifact in "$@"; do
        jar=$tools/$(echo "$artifact" | awk -F: '{print $2 "-" $3}').jar
        if [ ! -s "$jar" ]; then
            need mvn "Debian/Ubuntu: apt-get install maven; Fedora: dnf install maven"
            echo "fetching $artifact into the cache, once" >&2
            if ! said=$(mvn -q -B dependency:copy "-Dartifact=$artifact" "-DoutputDirectory=$tools" 2>&1); then
                printf 'cannot fetch %s:\n%s\n' "$artifact" "$said" >&2
                exit 1
            fi
        fi
        classpath+=$jar:
    done
}

need java "17 or newer; Debian/Ubuntu: apt-get install openjdk-17-jre-headless; Fedora: dnf install java-17-openjdk-headless"
if [ "$*" = --fetch ]; then
    install_tools "${plain[@]}"
    install_tools "${sandboxed[@]}"
    exit
fi

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
    need python3 "Debian/Ubuntu: apt-get install python3; Fedora: dnf install python3"
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
