#!/usr/bin/env bash
# Makes the image from a binary that is built already, without a daemon and without a base image, and starts it once.
#   image.sh BINARY [ARCHIVE]
# The image has the binary, the libraries of this machine that it is linked with, certificates of public authorities, and a
# user who is not root. It is written as an OCI archive: skopeo copy oci-archive:ARCHIVE docker://REGISTRY/bellwether:0.1.0
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=${1:?usage: image.sh BINARY [ARCHIVE]}
[ -x "$binary" ] || { echo "$binary: no such program; build it with: cargo build --locked --release" >&2; exit 1; }
command -v buildah > /dev/null || { echo "buildah is missing; Debian and Ubuntu: apt-get install buildah" >&2; exit 1; }

version=$("$binary" --version)
version=${version##* }
architecture=$(uname -m)
case $architecture in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
esac
archive=${2:-$here/../target/image/bellwether-$version-$architecture.tar}
revision=$(git -C "$here" rev-parse HEAD 2> /dev/null || echo unknown)
# One time for every file and for the image, so that the same binary makes the same image.
made=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2> /dev/null || date +%s)}

# Nothing of it stays: neither in the storage of the machine's containers, nor half an archive.
work=$(mktemp -d)
export STORAGE_DRIVER=vfs CONTAINERS_STORAGE_CONF=$work/storage.conf BUILDAH_ISOLATION=chroot
printf '[storage]\ndriver = "vfs"\nrunroot = "%s/run"\ngraphroot = "%s/graph"\n' "$work" "$work" > "$CONTAINERS_STORAGE_CONF"
trap 'buildah rm --all > /dev/null 2>&1 || true; rm -rf "$work"' EXIT

# put SOURCE TARGET: into the root of the image.
root=$work/root
put() { install -D -m "$(stat -Lc %a "$1")" "$1" "$root$2"; }

put "$binary" /usr/local/bin/bellwether
put "$here/../LICENSE" /usr/share/doc/bellwether/LICENSE
# Under the names by which the loader looks for them; the loader itself has its whole path in the binary.
while read -r library; do
    put "$library" "$library"
    package=$(dpkg -S "$(readlink -f "$library")" 2> /dev/null || dpkg -S "$library" 2> /dev/null || true)
    package=${package%%:*}
    [ ! -e "/usr/share/doc/$package/copyright" ] || put "/usr/share/doc/$package/copyright" "/usr/share/doc/$package/copyright"
done < <(ldd "$binary" | sed -nE 's/.*(=> |^[[:space:]]+)(\/[^ ]+) \(0x.*/\2/p')
put /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
mkdir -m 1777 "$root/tmp"
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' > "$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' > "$root/etc/group"
printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"
find "$root" -exec touch --no-dereference --date="@$made" {} +

container=$(buildah from scratch)
buildah copy --quiet --chown 0:0 "$container" "$root" / > /dev/null
buildah config \
    --user 65532:65532 --workingdir / --port 8080 --port 8443 \
    --env PATH=/usr/local/bin --entrypoint '["/usr/local/bin/bellwether"]' --cmd '' \
    --label org.opencontainers.image.title=Bellwether \
    --label "org.opencontainers.image.description=A progressive delivery controller for Kubernetes and Istio" \
    --label "org.opencontainers.image.version=$version" \
    --label "org.opencontainers.image.revision=$revision" \
    --label org.opencontainers.image.licenses=Apache-2.0 \
    "$container"
mkdir -p "$(dirname "$archive")"
rm -f "$archive"
buildah commit --quiet --timestamp "$made" --omit-history --disable-compression=false "$container" "oci-archive:$archive:bellwether:$version" > /dev/null
buildah rm "$container" > /dev/null

# What was written is started, as the user that it names.
container=$(buildah from --quiet "oci-archive:$archive")
run() { buildah run --user 65532:65532 "$container" -- "$@"; }
told=$(run /usr/local/bin/bellwether --version)
[ "${told##* }" = "$version" ] || { echo "the image says $told, not $version" >&2; exit 1; }
# Without a cluster it must end with its own words, and not for want of a library or a file.
if error=$(run /usr/local/bin/bellwether run 2>&1); then
    echo "the image ran without a cluster" >&2
    exit 1
fi
case $error in
*"no cluster"*) ;;
*) echo "the image does not start: $error" >&2; exit 1 ;;
esac
printf '%s: %s, %s, %s\n' "$archive" "$told" "$architecture" "$(du -h "$archive" | cut -f1)"
