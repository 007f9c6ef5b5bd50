#!/usr/bin/env bash
# A stand-in for the official base image, out of this Debian 12 machine's own installed packages.
#   base_from_host.sh TAG
# The machine's own certificates come along, so that a build step can install through a proxy that has one:
# such an image is for tests, never for a push.
set -euo pipefail
tag=$1
wanted="base-files bash dash coreutils debianutils sed grep findutils tar gzip util-linux libc-bin hostname login
passwd mawk diffutils procps tzdata netbase ca-certificates openssl libstdc++6 python3 python3-venv python3-pip"
list=$(mktemp)
root=$(mktemp -d -p "${TMPDIR:-/dev/shm}")
trap 'rm -rf "$list" "$root"' EXIT
# shellcheck disable=SC2086 # words are meant
closure=$(apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances $wanted | grep -E '^[a-z0-9]' | sed 's/:.*//' | sort -u)
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' | awk '$2 == "installed" {print $1}' | sort -u)
packages=$(comm -12 <(echo "$closure") <(echo "$installed") \
  | grep -vE '^(perl|perl-base|perl-modules.*|libperl.*|systemd.*|apt|dpkg|debconf.*|gpgv)$')
# shellcheck disable=SC2086
{ dpkg-query -L $packages 2>/dev/null || true; } | grep '^/' \
  | grep -vE '^/usr/share/(doc|man|locale|lintian|info|bug)/|__pycache__|/EXTERNALLY-MANAGED$|^/(bin|sbin|lib|lib64|lib32|libx32)$' \
  | sed -E 's#^/(bin|sbin|lib|lib64)/#/usr/\1/#' | sort -u \
  | while read -r file; do if [ -e "$file" ] || [ -L "$file" ]; then echo "${file#/}"; fi; done \
  | sed -E '/^etc\/(passwd|group|shadow|hostname|hosts|resolv.conf|ssl\/certs.*)$/d' > "$list"
printf '%s\n' etc/ld.so.cache etc/localtime etc/nsswitch.conf etc/alternatives/awk usr/bin/awk >> "$list"
mkdir -p "$root"/{usr/{bin,sbin,lib,lib64,local/bin},etc/ssl/certs,tmp,proc,sys,dev,run,var/tmp,var/lib,home,opt,mnt}
chmod 755 "$root"
chmod 1777 "$root/tmp" "$root/var/tmp"
for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$root/$directory"; done
printf 'root:x:0:0:root:/:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' > "$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' > "$root/etc/group"
tar -C / --no-recursion --ignore-failed-read -cf - -T "$list" 2>/dev/null | tar -C "$root" -xf - --skip-old-files
ln -s /usr/bin/python3 "$root/usr/local/bin/python"
bundle=/etc/ssl/certs/ca-certificates.crt
cat "$root"/usr/share/ca-certificates/mozilla/*.crt > "$root$bundle"
cat /usr/local/share/ca-certificates/*.crt >> "$root$bundle" 2>/dev/null || true
tar -C "$root" --numeric-owner -cf - . | docker import \
  --change "ENV PIP_CERT=$bundle" --change "ENV SSL_CERT_FILE=$bundle" \
  --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' --change 'ENV LANG=C.UTF-8' \
  --change 'CMD ["python3"]' - "$tag"
