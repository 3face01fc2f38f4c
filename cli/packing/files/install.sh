#!/bin/sh
# Installs what lies beside this file: see usage() below, and docs/deploy.md. Needs Python and no network.
set -eu
umask 022

version='@version@'
need_python='@python@'
# What this very Python calls its extension modules: version, machine and C library in one word.
need_abi='@abi@'
need_glibc='@glibc@'
need_bytes='@bytes@'

unit=dagger-edge.service
units=/etc/systemd/system
prefix=/opt/dagger-edge
python=
action=install
service=no
check=yes
unfinished=

usage() {
    cat <<END
usage: install.sh [--prefix DIR] [--python PYTHON] [--service] [--no-check]
       install.sh --rollback | --prune | --uninstall [--prefix DIR]

Installs dagger-edge $version for Python $need_python into DIR ($prefix), and makes it the current release once the
bundle answers there as it did where it was exported. A second time it does nothing.

  --prefix DIR     absolute; new, empty, or made by this script
  --python PYTHON  the interpreter to use  [default: python$need_python, else python3]
  --service        also install $units/$unit (it is not started)
  --no-check       do not run the bundle before switching to the new release
  --rollback       make the release before this one the current one; a second time: back again
  --prune          remove releases other than the current one and the one before it, and bundles that none uses
  --uninstall      remove all of it
END
}

say() { printf '%s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --prefix | --python)
        [ $# -gt 1 ] || die "$1 needs a value; see --help"
        if [ "$1" = --prefix ]; then prefix=$2; else python=$2; fi
        shift
        ;;
    --service) service=yes ;;
    --no-check) check=no ;;
    --rollback | --prune | --uninstall) action=${1#--} ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) die "$1 is no option of install.sh; see --help" ;;
    esac
    shift
done
while [ "$prefix" != "${prefix%/}" ]; do prefix=${prefix%/}; done
case $prefix in
*[!A-Za-z0-9._/-]*) die "--prefix $prefix: use letters, digits and ._-/ only; it goes into scripts and a unit file" ;;
*/../* | */.. | */./* | */.) die "--prefix $prefix: give it without . and .." ;;
/*) ;;
*) die "--prefix '$prefix': give an absolute path below /" ;;
esac
here=$(cd "$(dirname "$0")" && pwd -P)

# Python, where the shell has no portable word: renaming over a link, the free space, the C library.
replace() { "$python" -I -c 'import os, sys; os.replace(sys.argv[1], sys.argv[2])' "$1" "$2"; }

# link NAME TARGET: the symbolic link $prefix/NAME, in one step.
link() {
    ln -sfn "$2" "$prefix/$1.new"
    replace "$prefix/$1.new" "$prefix/$1"
}

find_python() {
    if [ -z "$python" ]; then
        python=$(command -v "python$need_python" || command -v python3) || die "there is no python3: install Python $need_python"
    fi
    "$python" -I -c '' 2>/dev/null || die "$python does not run: give an interpreter by --python"
}

check_python() {
    found=$("$python" -I -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')
    [ "$found" = "$need_abi" ] ||
        die "$python is $found, this pack is for $need_abi (Python $need_python): give another by --python, or pack for this machine"
    "$python" -I - "$need_glibc" <<'END' || exit 1
import os, sys
need, found = sys.argv[1], os.confstr("CS_GNU_LIBC_VERSION").split()[1]
if [int(part) for part in found.split(".")[:2]] < [int(part) for part in need.split(".")]:
    sys.exit(f"error: this system has glibc {found}, the wheels need {need}: use a newer system")
try:
    import venv
except ImportError:
    sys.exit("error: this Python has no module venv (Debian has it in python3-venv): install that")
END
}

check_files() {
    command -v sha256sum >/dev/null || die "sha256sum is missing: install coreutils"
    failed=$(cd "$here" && sha256sum -c SHA256SUMS 2>/dev/null | grep -v ': OK$' | head -n 3) || true
    [ -z "$failed" ] || die "altered or missing, copy the pack again: $(printf '%s' "$failed" | tr '\n' ' ')"
    sums=$(sha256sum "$here/SHA256SUMS" | cut -c 1-64)
    say "files      intact; SHA256SUMS is $sums"
}

check_prefix() {
    if [ -e "$prefix" ] && [ ! -e "$prefix/.dagger-edge" ]; then
        [ -d "$prefix" ] || die "--prefix $prefix is no folder: choose another"
        [ -z "$(ls -A "$prefix")" ] || die "--prefix $prefix holds other things: choose another"
    fi
    mkdir -p "$prefix" 2>/dev/null || die "--prefix $prefix cannot be written: run as root, or choose another"
    [ -w "$prefix" ] || die "--prefix $prefix cannot be written: run as root, or choose another"
}

check_space() {
    "$python" -I - "$prefix" "$need_bytes" <<'END' || exit 1
import shutil, sys
free, need = shutil.disk_usage(sys.argv[1]).free, int(sys.argv[2])
if free < need:
    sys.exit(f"error: {sys.argv[1]} needs {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: free space or choose another --prefix")
END
}

# One at a time; a shell that is killed leaves the lock, and the next one takes it over when that shell is gone.
take_lock() {
    lock=$prefix/.lock
    if ! mkdir "$lock" 2>/dev/null; then
        owner=$(cat "$lock/pid" 2>/dev/null || true)
        if [ -n "$owner" ] && kill -0 "$owner" 2>/dev/null; then
            die "another install.sh (process $owner) works on $prefix: wait for it"
        fi
    fi
    echo $$ >"$lock/pid"
    trap 'rm -rf "$lock" ${unfinished:+"$unfinished"}' EXIT
    trap 'exit 130' HUP INT TERM
}

require_installed() {
    [ -e "$prefix/.dagger-edge" ] || die "--prefix $prefix was not made by install.sh: give the one that was"
}

# copy_bundles DIR: into $prefix/bundles, each once for all releases that use it, and links to them in DIR.
copy_bundles() {
    mkdir -p "$1/bundles" "$prefix/bundles"
    first=
    for source in "$here"/bundles/*/; do
        [ -e "$source/manifest.json" ] || continue
        name=$(basename "$source")
        digest=$(sha256sum "$source/manifest.json" | cut -c 1-12)
        kept=$prefix/bundles/$name-$digest
        if [ ! -e "$kept" ]; then
            rm -rf "$kept.part"
            cp -R "$source" "$kept.part"
            chmod -R u+rwX,go+rX "$kept.part"
            mv "$kept.part" "$kept"
        fi
        ln -sfn "../../../bundles/$name-$digest" "$1/bundles/$name"
        [ "$name" = '@bundle@' ] && first=bundles/$name
    done
    # Without a bundle of its own: the demo that is inside the package.
    [ -n "$first" ] || first=venv/lib/python$need_python/site-packages/dagger_edge/bundles/demo
    ln -sfn "$first" "$1/bundle"
}

fill_release() {
    "$python" -I -m venv --without-pip "$1/venv"
    PIP_CONFIG_FILE=/dev/null "$1/venv/bin/python" -I "$here/wheels/@pip@/pip" --isolated install --quiet \
        --disable-pip-version-check --root-user-action ignore --no-cache-dir --no-index --find-links "$here/wheels" \
        --require-hashes --no-deps --only-binary :all: -r "$here/requirements.txt" ||
        die "the wheels could not be installed; what pip says stands above"
    copy_bundles "$1"
    cp -R "$here/docs" "$here/README.md" "$here/LICENSE" "$here/install.sh" "$here/pack.json" "$here/sbom.cdx.json" \
        "$here/SHA256SUMS" "$1"
    [ ! -d "$here/notices" ] || cp -R "$here/notices" "$1"
    sed "s|@prefix@|$prefix|g" "$here/$unit" >"$1/$unit"
    chmod -R go+rX "$1"
}

# What the bundles say here against what they said where they were made.
check_release() {
    for bundle in "$1"/bundles/* "$1/bundle"; do
        [ -e "$bundle/manifest.json" ] || continue
        [ "$bundle" != "$1/bundle" ] || [ -z "$(ls "$1/bundles")" ] || continue
        said=$(XDG_CACHE_HOME=$1/cache "$1/venv/bin/dagger-edge" verify "$bundle" 2>&1) ||
            die "not installed, $(basename "$bundle") does not answer here as it should: $said"
        say "$(basename "$bundle"): $(printf '%s\n' "$said" | sed -n 's/^known answer  *//p')"
    done
    rm -rf "$1/cache"
}

switch() {
    now=$(readlink "$prefix/current" 2>/dev/null || true)
    [ "$now" = "$1" ] && return
    [ -z "$now" ] || link previous "$now"
    link current "$1"
}

install_service() {
    [ -d "$units" ] || die "there is no $units: this system has no systemd; the release itself is installed"
    case $prefix in
    /home/* | /root/* | /run/user/* | /tmp/* | /var/tmp/*) die "--service: the unit sees nothing of $prefix; install below /opt or /srv" ;;
    esac
    cp "$prefix/current/$unit" "$units/.$unit.new"
    replace "$units/.$unit.new" "$units/$unit"
    command -v systemctl >/dev/null && systemctl daemon-reload 2>/dev/null || true
    say "service    $units/$unit; start it: systemctl enable --now dagger-edge (after an upgrade: systemctl restart dagger-edge)"
}

do_install() {
    [ -d "$here/wheels" ] || die "no wheels beside $0: run install.sh of a pack"
    find_python
    check_python
    check_files
    check_prefix
    take_lock
    : >"$prefix/.dagger-edge"
    release=$version-$(printf %s "$sums" | cut -c 1-12)
    mkdir -p "$prefix/releases" "$prefix/bin"
    if [ -e "$prefix/releases/$release/complete" ]; then
        say "release    $release is there already"
    else
        # What an interrupted run left; the place is the final one, since a virtual environment cannot be moved.
        rm -rf "$prefix/releases/$release"
        check_space
        unfinished=$prefix/releases/$release
        mkdir "$unfinished"
        fill_release "$prefix/releases/$release"
        if [ "$check" = yes ]; then check_release "$prefix/releases/$release"; fi
        sync
        : >"$prefix/releases/$release/complete"
        unfinished=
        say "release    $prefix/releases/$release"
    fi
    switch "releases/$release"
    ln -sfn ../current/venv/bin/dagger-edge "$prefix/bin/dagger-edge"
    say "current    $release; the command is $prefix/bin/dagger-edge"
    if [ "$service" = yes ]; then install_service; fi
}

do_rollback() {
    find_python
    take_lock
    before=$(readlink "$prefix/previous" 2>/dev/null) || die "$prefix has no release before this one: nothing to go back to"
    [ -e "$prefix/$before/complete" ] || die "$prefix/$before is not there any more: install its pack again"
    switch "$before"
    say "current    ${before#releases/}; a service has to be restarted: systemctl restart dagger-edge"
}

do_prune() {
    take_lock
    current=$(readlink "$prefix/current" 2>/dev/null || true)
    previous=$(readlink "$prefix/previous" 2>/dev/null || true)
    for release in "$prefix"/releases/*; do
        case releases/$(basename "$release") in
        "$current" | "$previous") continue ;;
        esac
        [ ! -e "$release" ] || { rm -rf "$release" && say "removed    $release"; }
    done
    for bundle in "$prefix"/bundles/*; do
        used=no
        for other in "$prefix"/releases/*/bundles/*; do
            [ "$(readlink "$other" 2>/dev/null || true)" != "../../../bundles/$(basename "$bundle")" ] || used=yes
        done
        [ $used = yes ] || [ ! -e "$bundle" ] || { rm -rf "$bundle" && say "removed    $bundle"; }
    done
}

do_uninstall() {
    take_lock
    if [ -e "$units/$unit" ] && grep -q -F "ExecStart=$prefix/current/" "$units/$unit"; then
        command -v systemctl >/dev/null && systemctl disable --now dagger-edge 2>/dev/null || true
        rm -f "$units/$unit"
        say "removed    $units/$unit"
    fi
    rm -rf "$prefix/releases" "$prefix/bundles" "$prefix/current" "$prefix/previous" "$prefix/current.new" \
        "$prefix/previous.new" "$prefix/bin/dagger-edge" "$prefix/.dagger-edge" "$lock"
    rmdir "$prefix/bin" "$prefix" 2>/dev/null || true
    say "removed    $prefix (a service's cache is in /var/cache/dagger-edge)"
}

[ "$action" = install ] || require_installed
"do_$action"
