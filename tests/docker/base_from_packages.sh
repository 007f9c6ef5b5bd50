#!/usr/bin/env bash
# A stand-in for the official base image, out of Debian's packages; for machines that are not Debian 12.
#   base_from_packages.sh TAG
set -euo pipefail
tag=$1
export TMPDIR=${TMPDIR:-/dev/shm}
bundle=/etc/ssl/certs/ca-certificates.crt
# shellcheck disable=SC2016 # mmdebstrap expands $1
mmdebstrap --quiet --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='force-unsafe-io' \
  --customize-hook='rm -f "$1"/usr/lib/python3.11/EXTERNALLY-MANAGED; ln -s /usr/bin/python3 "$1"/usr/local/bin/python' \
  --customize-hook='rm -f "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap' \
  --customize-hook='for c in /usr/local/share/ca-certificates/*.crt; do [ -e "$c" ] && cp "$c" "$1"/usr/local/share/ca-certificates/; done; chroot "$1" update-ca-certificates >/dev/null 2>&1' \
  bookworm - \
  | docker import \
  --change "ENV PIP_CERT=$bundle" --change "ENV SSL_CERT_FILE=$bundle" \
  --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' --change 'ENV LANG=C.UTF-8' \
  --change 'CMD ["python3"]' - "$tag"
