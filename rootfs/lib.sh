# shellcheck shell=sh
# What build, stand-in and binfmt share. Sourced, never run. The script that sources it sets $me,
# the name that its messages start with, and, where it calls fetch, $aside, a directory for logs.
#
# Plain POSIX sh: dash and busybox ash run this, so there is no `local`, and names of variables are
# chosen so that functions don't tread on each other.
# shellcheck disable=SC2154,SC2034  # $me and $aside come from there, and $why is read there

umask 022  # images are read by users other than the one who builds them
export LC_ALL=C  # what other programs say is looked at here

say() { printf '%s: %s\n' "$me" "$1"; }
warn() { printf '%s: %s\n' "$me" "$1" >&2; }

# die WHAT [WHAT-TO-DO]
die() {
    warn "$1"
    [ -z "${2-}" ] || printf '  hint: %s\n' "$2" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" = 0 ]; }

# install_with DEB RPM APK: the command that installs a package on this machine.
install_with() {
    if have apt-get; then
        echo "apt-get install $1"
    elif have dnf; then
        echo "dnf install $2"
    elif have apk; then
        echo "apk add $3"
    else
        echo "install the package $1 with this system's package manager"
    fi
}

# This machine's architecture, by Debian's and Ubuntu's name for it.
machine_arch() {
    case $(uname -m) in
    x86_64) echo amd64 ;;
    i?86) echo i386 ;;
    aarch64) echo arm64 ;;
    armv7* | armv8*) echo armhf ;;
    armv*) echo armel ;;
    ppc) echo powerpc ;;
    ppc64le) echo ppc64el ;;
    *) uname -m ;;
    esac
}

# --- Long commands and signals ---

running=
stop_with=TERM

# run COMMAND...: the same as COMMAND, but a signal stops it at once. A shell runs its traps only
# when the command in the foreground has ended, and a download that stalls doesn't end; `wait` can
# be interrupted.
run() {
    running=yes
    "$@" &
    run_status=0
    wait "$!" || run_status=$?
    running=
    return "$run_status"
}

# For a script's EXIT trap, before it clears away: what still runs would go on writing.
stop_running() {
    [ -n "$running" ] || return 0
    kill -s "$stop_with" "$!" 2>/dev/null || :  # it may have ended by itself
    wait "$!" 2>/dev/null || :
}

# on_exit FUNCTION: is called at the end, however that comes (SIGKILL aside).
on_exit() {
    # shellcheck disable=SC2064  # the function is named now
    trap "$1" EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# --- Removing a tree ---

# The mount points at and below DIR, the newest first, as mountinfo spells them (a space is \040).
mounts_at() {
    # With an empty path every mount of the machine would count as below it.
    mounts_path=$(cd "$1" && pwd -P) && [ -n "$mounts_path" ] || return 1
    case $mounts_path in *[[:cntrl:]]*) return 1 ;; esac  # mountinfo would spell them otherwise
    mounts_path=$(printf '%s' "$mounts_path" | sed 's/\\/\\134/g; s/ /\\040/g')
    mounts_found=
    while read -r _ _ _ _ mounts_point _; do
        case $mounts_point in
        "$mounts_path" | "$mounts_path"/*)
            mounts_found="$mounts_point
$mounts_found"
            ;;
        esac
    done </proc/self/mountinfo || return 1
    printf '%s' "$mounts_found"
}

# Removes DIR, and nothing that is mounted below it: such mounts are taken away first, and where one
# stays, nothing is removed. --one-file-system alone would not do: a bind mount from the same file
# system doesn't stop it.
remove_tree() {
    if [ -L "$1" ]; then
        rm -f "$1"
        return
    fi
    [ -d "$1" ] || return 0
    tree_mounts=$(mounts_at "$1") || {
        [ -d "$1" ] || return 0  # another build has just removed it
        warn "remove: $1: can't find out what is mounted below it; nothing was removed"
        return 1
    }
    while [ -n "$tree_mounts" ]; do
        # \040 is turned back into a space by printf.
        tree_mount=$(printf '%s' "$tree_mounts" | sed 's/%/%%/g; 1q')
        # shellcheck disable=SC2059
        umount "$(printf "$tree_mount")" || {
            warn "remove: $1: something is mounted below it and in use; nothing was removed"
            return 1
        }
        tree_mounts=$(mounts_at "$1") || return 1
    done
    tree_stay=
    if rm --help 2>&1 | grep -q one-file-system; then tree_stay=--one-file-system; fi
    rm -rf $tree_stay "$1" 2>/dev/null && return
    # An ordinary user can't empty a directory without write permission, even his own; and what was
    # just killed may have written its last file meanwhile.
    sleep 1
    find "$1" -type d -exec chmod u+rwx {} \; 2>/dev/null || :
    rm -rf $tree_stay "$1"
}

# --- Fetching ---

is_busybox_wget() { wget --help 2>&1 | grep -q BusyBox; }

can_fetch() { have curl || have wget; }

# Whether an https address says who answers: busybox's own TLS takes any certificate.
checks_certificates() { have curl || { have wget && ! is_busybox_wget; }; }

# fetch URL FILE [SECONDS]: gets FILE, within SECONDS where they are given (small files); any other
# transfer may take its time, but not stand still. Returns, with $why in words:
#   0  FILE is there
#   1  nobody could be reached. This includes answers that are not the publisher's own word on the
#      file (403, 407, 429, 5xx: a proxy, or a server in trouble) and connections that break
#   2  the publisher says that there is no such file (404, 410)
#   3  anything else: a certificate that doesn't hold, a full disk
fetch() {
    fetch_status=0
    why=
    if have curl; then
        fetch_with_curl "$@"
    elif have wget; then
        fetch_with_wget "$@"
    else
        why='neither curl nor wget is installed'
        return 1
    fi
    return "$fetch_status"
}

fetch_with_curl() {
    # A transfer that began on https must not be sent on to plain http.
    case $1 in https:*) fetch_proto='=https' ;; *) fetch_proto='=http,https' ;; esac
    run curl -fsSL --proto-redir "$fetch_proto" --connect-timeout 5 ${3:+--max-time "$3"} \
        --speed-limit 1 --speed-time 30 -o "$2" -w '%{http_code}' "$1" \
        >"$aside/fetch.code" 2>"$aside/fetch.log" || fetch_status=$?
    why=$(sed -n '$s/^curl: ([0-9]*) //p' "$aside/fetch.log")
    case $fetch_status in
    0) ;;
    22) case $(cat "$aside/fetch.code") in 404 | 410) fetch_status=2 ;; *) fetch_status=1 ;; esac ;;
    # proxy, name, connection, cut short, time, TLS handshake, silence, send and receive; no
    # certificates on this machine (77)
    5 | 6 | 7 | 16 | 18 | 28 | 35 | 52 | 55 | 56 | 77 | 92) fetch_status=1 ;;
    *) fetch_status=3 ;;
    esac
}

fetch_with_wget() {
    fetch_url=$1
    fetch_file=$2
    if [ -n "${3-}" ] && have timeout; then set -- timeout "$3" wget; else set -- wget; fi
    if ! is_busybox_wget; then
        # No redirects: GNU wget would follow one from https to plain http.
        set -- "$@" -nv -t 1 --dns-timeout=5 --connect-timeout=5 --read-timeout=30 --max-redirect=0
    elif wget --help 2>&1 | grep -q -e '-T '; then
        set -- "$@" -T 10
    fi
    run "$@" -O "$fetch_file" "$fetch_url" >"$aside/fetch.log" 2>&1 || fetch_status=$?
    why=$(sed -n '$p' "$aside/fetch.log")
    case $fetch_status in
    0) return ;;
    124 | 143) why='no answer in time' fetch_status=1 ;;  # timeout's own
    4) fetch_status=1 ;;  # the network
    8 | 1) fetch_status=1 ;;  # GNU: the server refused; busybox: everything
    *) fetch_status=3 ;;
    esac
    if grep -Eq '(ERROR|response|HTTP/[0-9.]+) 4(04|10)' "$aside/fetch.log"; then
        fetch_status=2
    elif grep -Eq "can't open|write error" "$aside/fetch.log"; then
        fetch_status=3
    fi
}

# sha256 FILE
sha256() {
    if have sha256sum; then
        sha256sum <"$1"
    elif have shasum; then
        shasum -a 256 <"$1"
    elif have openssl; then
        openssl dgst -sha256 -r <"$1"
    fi | { read -r sha256_is _ && echo "$sha256_is"; }
}
