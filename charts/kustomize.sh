#!/usr/bin/env bash
# Renders the chart, with its defaults, as the kustomize base.
#   kustomize.sh [HELM]            writes deploy/kustomize/base
#   kustomize.sh --check [HELM]    fails if it differs
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=$here/../deploy/kustomize/base
check=
if [ "${1:-}" = --check ]; then
    check=yes
    shift
fi
helm=${1:-}
[ -n "$helm" ] || helm=$("$here/../e2e/tools/build.sh")/helm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HELM_CACHE_HOME=$work HELM_CONFIG_HOME=$work HELM_DATA_HOME=$work

# render FILE TITLE TEMPLATE...: nothing of the result is Helm's.
render() {
    local file=$1 title=$2 template show=()
    shift 2
    for template in "$@"; do show+=(--show-only "templates/$template.yaml"); done
    {
        printf '# %s Made from charts/bellwether; change that, and run: make kustomize\n' "$title"
        "$helm" template bellwether "$here/bellwether" --namespace bellwether --set crds.keep=false "${show[@]}" |
            sed -e '/^# Source: /d' -e '/^ *helm\.sh\//d' -e '/^ *app\.kubernetes\.io\/managed-by: Helm$/d' | cat -s
    } > "$work/$file"
}
render crds.yaml "The kinds." crds
render controller.yaml "The controller." serviceaccount rbac deployment pdb
render users.yaml "Roles for users." rbac-users
render admission.yaml "Admission policies; they need Kubernetes 1.30." admission
render flow-control.yaml "Flow control; it needs Kubernetes 1.29." flow-control

for file in "$work"/*.yaml; do
    if [ -z "$check" ]; then
        cp "$file" "$base/"
    elif ! cmp -s "$file" "$base/${file##*/}"; then
        echo "deploy/kustomize/base/${file##*/} is not what the chart makes; fix it with: make kustomize" >&2
        exit 1
    fi
done
