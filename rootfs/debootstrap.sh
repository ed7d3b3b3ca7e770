# shellcheck shell=sh
# Debian images, made with debootstrap; the recipes of Debian images source this. They set $arch and
# $suite, and may set $archived where the suite lives only in Debian's archive of old releases.
#
#   MIRROR   the mirror to take; else one that this machine's apt uses; else debootstrap's own.
#   KEYRING  the keys to check the suite's signature with.
#   SUITE    another suite than the recipe's, under the same image name.
# shellcheck disable=SC2154,SC2034  # shared with build, lib.sh and the recipe

needs_root=yes
archived=

# Small, and enough for the README's commands: ps, hostname and ip.
debian_packages=procps,hostname,iproute2

make_image() {
    have debootstrap || die "debootstrap is missing" \
        "$(install_with debootstrap debootstrap debootstrap)"
    find_keyring
    find_mirror
    case $arch in
    "$(machine_arch)") ;;
    # This machine's kernel hands the image's programs to qemu.
    armhf | armel) "$here/binfmt" register arm ;;
    arm64) "$here/binfmt" register aarch64 ;;
    amd64) "$here/binfmt" register x86_64 ;;
    i386) "$here/binfmt" register i386 ;;
    *) die "$arch: rootfs/binfmt knows no handler for it" ;;
    esac

    say "rootfs/$name: $suite for $arch, from $mirror"
    private=$(private_mounts)
    stop_with=KILL  # unshare takes no notice of TERM; its death ends all that it has started
    # shellcheck disable=SC2086  # several words
    run $private debootstrap --arch="$arch" --variant=minbase \
        --include="$debian_packages" --keyring="$keyring" --force-check-gpg \
        "$suite" "$1" "$mirror" ||
        die "rootfs/$name: debootstrap failed; its own last lines are above"
    # What apt has downloaded is not needed again.
    rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/*
    title="Debian $suite for $arch"
}

# debootstrap checks no signature when it isn't given keys; without keys there is no image.
find_keyring() {
    keyring=${KEYRING-}
    if [ -n "$keyring" ]; then
        [ -r "$keyring" ] || die "KEYRING: $keyring: can't be read"
        case $keyring in /*) ;; *) keyring=$PWD/$keyring ;; esac
    else
        keyring=$aside/keyring.gpg
        # Which of the two files has an old suite's keys depends on how new the machine is; a suite
        # of today has no business with keys that were removed.
        for keys in archive-keyring ${archived:+archive-removed-keys}; do
            keys=/usr/share/keyrings/debian-$keys.gpg
            if [ -r "$keys" ]; then cat "$keys" >>"$keyring"; fi
        done
    fi
    [ -s "$keyring" ] || die "no keys here to check Debian's signature with" \
        "$(install_with debian-archive-keyring debian-keyring debian-archive-keyring)"
    have gpgv || die "gpgv, which checks the signature, is missing" \
        "$(install_with gpgv gnupg2 gnupg)"
}

# The first mirror that serves the suite. Asked with a short time-out: debootstrap itself would try
# for minutes.
find_mirror() {
    can_fetch || die "neither curl nor wget is installed" "$(install_with wget wget wget)"
    asked=
    refused=
    for mirror in $(mirrors); do
        asked="$asked $mirror"
        if serves "$mirror"; then return; fi
    done
    [ -n "$asked" ] || die "no Debian mirror is known here" "name one: sudo make $name MIRROR=URL"
    hint="MIRROR=URL names a mirror that serves it"
    if [ -n "$archived" ]; then
        hint="Debian keeps $suite in its archive of old releases only: sudo make $name"
        hint="$hint MIRROR=URL-of-that-archive; or the same $arch image from a suite that mirrors"
        hint="$hint serve: sudo make $name SUITE=bookworm"
    fi
    if [ -n "$refused" ]; then
        die "rootfs/$name: suite $suite is not on$refused" "$hint"
    fi
    die "rootfs/$name: no mirror can be reached: tried$asked: $why" "$hint"
}

# The mirrors to ask, the best first.
mirrors() {
    if [ -n "${MIRROR-}" ]; then
        echo "${MIRROR%/}"
        return
    fi
    {
        if have apt-get; then
            # shellcheck disable=SC2016  # apt's variable
            apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' || :
        fi
        # debootstrap's own, for this suite and in general: they are in its files only.
        if [ -r "/usr/share/debootstrap/scripts/$suite" ]; then
            sed -n 's/^[[:space:]]*default_mirror //p' "/usr/share/debootstrap/scripts/$suite"
        fi
        sed -n 's/^DEF_MIRROR="\(.*\)"$/\1/p' "$(command -v debootstrap)"
    } | sed -n 's,/*$,,; /^https*:/p' | awk '!seen[$0]++'
}

# Whether MIRROR has the suite, and is Debian's: apt also knows other publishers, with suites of the
# same name.
serves() {
    for release in InRelease Release; do
        serves_status=0
        fetch "$1/dists/$suite/$release" "$aside/Release" 10 || serves_status=$?
        case $serves_status in
        0)
            [ -n "${MIRROR-}" ] || grep -q '^Label: Debian$' "$aside/Release"
            return
            ;;
        2) ;;
        *) return 1 ;;
        esac
    done
    refused="$refused $1"
    return 1
}

# The command that keeps debootstrap's mounts to itself, so that an interruption leaves none on the
# host. With a PID namespace its programs end with it, at once; setpriv makes it end with us, even
# by SIGKILL.
private_mounts() {
    for private in 'setpriv --pdeathsig KILL unshare -m -p -f --kill-child --mount-proc' \
        'unshare -m -p -f --kill-child --mount-proc' 'unshare -m'; do
        if $private true 2>/dev/null; then
            echo "$private"
            return
        fi
    done
}
