# fish completion for tinyctr. Written by `make generate`.

# The words after IMAGE, before the one that is being typed; fails where there is no IMAGE yet.
function __tinyctr_after_image
    set -l tokens (commandline -opc)
    set -e tokens[1]
    test "$tokens[1]" = run; and set -e tokens[1]
    argparse -s @PARSED@ -- $tokens 2>/dev/null
    or return 1
    test (count $argv) -gt 0
    or return 1
    for word in $argv[2..]
        printf '%s\n' $word
    end
end

function __tinyctr_before_image
    not __tinyctr_after_image >/dev/null
end

# The bare names of images, from everywhere that tinyctr looks.
function __tinyctr_images
    set -l own (command -s -- (commandline -opc)[1])
    set -l places (string split -n : -- "$TINYCTR_PATH") ./rootfs \
        (path dirname -- $own)/rootfs /var/lib/tinyctr /var/lib/machines
    for place in $places
        path basename -- (path filter -d -- $place/*)
    end
    string replace /rootfs- '' -- (path filter -d -- /rootfs-*)
end

# One more element of a list.
function __tinyctr_namespaces
    set -l before (string match -r '^(?:.*[,=])?' -- (commandline -ct))
    set before (string replace -r '^--ns=' '' -- "$before")
    set -l given (string split -n , -- $before)
    for name in @NAMESPACES@
        contains -- $name $given; or printf '%s%s\n' "$before" $name
    end
    test -n "$before"; or printf 'none\n'
end

# What comes after IMAGE is a command line of its own.
function __tinyctr_command
    set -l words (__tinyctr_after_image)
    set -l current (commandline -ct)
    set -l line (string join ' ' -- (string escape -- $words) "$current")
    complete "--do-complete=$line"
end

complete -c tinyctr -f
complete -c tinyctr -n __tinyctr_before_image -a '(__tinyctr_images)' -d image
complete -c tinyctr -n '__tinyctr_before_image; and not string match -q -- "-*" (commandline -ct)' \
    -a '(__fish_complete_directories)'
complete -c tinyctr -n 'not __tinyctr_before_image' -a '(__tinyctr_command)'
@OPTIONS@
