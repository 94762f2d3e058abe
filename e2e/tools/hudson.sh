#!/usr/bin/env bash
# A real Hudson: the last release before the project took the name Jenkins, and the only server of this family that a
# package registry has. It shows that the old core of the protocol is spoken well; what came later, the fake Jenkins shows.
#   hudson.sh fetch              fills the cache; needs mvn and javac, once
#   hudson.sh run PORT HOME      runs it on loopback, inside the network namespace of the stories
set -euo pipefail

version=1.395
folder=${BELLWETHER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bellwether}/tools/hudson-$version
war=$folder/hudson-war-$version.war

fetch() {
    for tool in mvn javac; do
        if ! command -v "$tool" > /dev/null; then
            echo "a real Hudson needs $tool: Debian/Ubuntu: apt-get install maven openjdk-17-jdk-headless" >&2
            exit 1
        fi
    done
    mkdir -p "$folder"
    if [ ! -s "$war" ]; then
        echo "fetching Hudson $version into the cache, once" >&2
        mvn -q -B dependency:copy "-Dartifact=org.jvnet.hudson.main:hudson-war:$version:war" \
            "-DoutputDirectory=$folder" >&2
    fi
    # Its XML library knows Java up to 6 and asks these properties which one it has; no flag of java sets them.
    cat > "$folder/Start.java" << 'JAVA'
public class Start {
    public static void main(String[] arguments) throws Exception {
        System.setProperty("java.vm.vendor", "Sun Microsystems Inc.");
        System.setProperty("java.specification.version", "1.6");
        System.setProperty("java.version", "1.6.0_22");
        Class.forName("Main").getMethod("main", String[].class).invoke(null, (Object) arguments);
    }
}
JAVA
    javac -d "$folder" "$folder/Start.java"
}

run() { # run PORT HOME
    # It announces itself by multicast and does not start where that fails.
    ip link set lo multicast on
    ip route replace 224.0.0.0/4 dev lo
    local opens=() package
    for package in java.base/{java.lang,java.lang.reflect,java.lang.invoke,java.lang.ref,java.util,java.util.concurrent} \
        java.base/{java.util.concurrent.atomic,java.util.concurrent.locks,java.util.regex,java.util.zip,java.io,java.net} \
        java.base/{java.text,java.nio,java.math,java.time,java.security,sun.nio.ch,sun.security.x509} \
        java.base/{sun.net.www.protocol.http,sun.reflect.generics.reflectiveObjects,sun.reflect.annotation} \
        java.base/jdk.internal.loader java.desktop/{java.awt,java.awt.font,java.beans,javax.swing.tree} \
        java.xml/com.sun.org.apache.xerces.internal.jaxp; do
        opens+=("--add-opens=$package=ALL-UNNAMED")
    done
    export HUDSON_HOME=$2
    exec java -Xmx300m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC "${opens[@]}" -Djava.awt.headless=true \
        -Dhudson.udp=33848 -Dhudson.DNSMultiCast.disabled=true -Dhudson.model.UpdateCenter.never=true \
        -cp "$folder:$war" Start "--httpPort=$1" --httpListenAddress=127.0.0.1 --ajp13Port=-1
}

case "${1:-} $#" in
    "fetch 1") fetch ;;
    "run 3") run "$2" "$3" ;;
    *)
        echo "usage: hudson.sh fetch | run PORT HOME" >&2
        exit 2
        ;;
esac
