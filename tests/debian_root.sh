#!/usr/bin/env bash
# Sets darkroom up in a fresh Debian, as somebody would who has git, make and python3 and nothing else:
#   tests/debian_root.sh trixie FOLDER [COMMAND...]
# Makes the root with debootstrap (as root) where FOLDER doesn't hold one, clones this repository into it, checks
# that `make run` names in one sentence what the system lacks, installs that, and then runs the COMMAND there,
# or `make run`. pip's settings, and the certificates that it trusts, are those of this machine.
set -euo pipefail
suite=$1 folder=$(realpath -m "$2")
shift 2
here=$(realpath "$(dirname "$0")/..")
mirror=$(grep -rhoP '^(URIs:|deb) .*?\Khttps?://\S+/debian/?(?=\s|$)' /etc/apt/sources.list* | head -1)

[ -e "$folder/etc/debian_version" ] ||
  debootstrap --variant=minbase --include=git,make,python3,ca-certificates "$suite" "$folder" "$mirror"
rm -rf "$folder/darkroom"
git clone --quiet "$here" "$folder/darkroom"

mount -t proc proc "$folder/proc"
mount --rbind /dev "$folder/dev"
mount --make-rslave "$folder/dev"
trap 'umount -l "$folder/dev" "$folder/proc"' EXIT
cp /etc/resolv.conf /etc/hosts "$folder/etc/"
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  [ ! -e "$file" ] || cp "$file" "$folder$file"
done

inside() {
  env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    $(env | grep -E '^(PIP_|UV_|SSL_CERT|REQUESTS_CA)' | grep -v ' ') chroot "$folder" sh -c "cd /darkroom; $1"
}

if said=$(inside 'make run' 2>&1); then
  echo 'Nothing was missing.'
else
  wanted=$(sed -n 's/.*apt-get install \(.*\)\.$/\1/p' <<<"$said")
  [ -n "$wanted" ] || { echo "$said"; exit 1; }
  echo "It named: $wanted"
  inside "apt-get update -qq; apt-get install -y -qq --no-install-recommends $wanted" >/dev/null
fi
inside "${*:-make run}"
