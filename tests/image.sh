#!/usr/bin/env bash
# Builds kubeflow/Dockerfile without Docker, and runs a command in the image:
#   tests/image.sh FOLDER [COMMAND...]
# As root, with debootstrap and buildah. In place of python:3.11-slim-bookworm stands a Debian 12 with its own Python
# 3.11, made in FOLDER where it isn't there yet. pip's settings, and the certificates that it trusts, are those of this
# machine. The FOLDER is at /folder in the container, to read and write.
set -euo pipefail
folder=$(realpath -m "$1")
shift
here=$(realpath "$(dirname "$0")/..")
base=docker.io/library/python:3.11-slim-bookworm
mirror=$(grep -rhoP '^(URIs:|deb) .*?\Khttps?://\S+/debian/?(?=\s|$)' /etc/apt/sources.list* | head -1)

images() {
  local command=$1
  shift
  buildah --root "$folder/images" --runroot "$folder/running" "$command" "$@"
}

if ! images inspect --type image "$base" >/dev/null 2>&1; then
  packages=python3,python3-dev,python3-pip,ca-certificates
  debootstrap --variant=minbase --include="$packages" bookworm "$folder/root" "$mirror" >/dev/null
  # As Docker's image has it: python, and a pip that installs for all.
  ln -sf python3 "$folder/root/usr/bin/python"
  rm -f "$folder"/root/usr/lib/python3*/EXTERNALLY-MANAGED
  for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$file" ] || cp "$file" "$folder/root$file"
  done
  empty=$(images from scratch)
  images add --quiet "$empty" "$folder/root" / >/dev/null
  images commit --quiet "$empty" "$base"
  images rm "$empty" >/dev/null
  rm -rf "$folder/root"
fi
images build --isolation chroot --pull-never --target darkroom --tag darkroom \
  --file "$here/kubeflow/Dockerfile" "$here"
container=$(images from --pull-never darkroom)
trap 'images rm "$container" >/dev/null' EXIT
images run --isolation chroot --volume "$folder:/folder" "$container" -- "${@:-darkroom}"
