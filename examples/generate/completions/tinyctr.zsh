#compdef tinyctr
# zsh completion for tinyctr. Written by `make generate`.

# The bare names of images, from everywhere that tinyctr looks; and paths.
_tinyctr_images() {
    local own=${commands[$words[1]]:-$words[1]}
    local -a places names
    places=(${(s.:.)TINYCTR_PATH} ./rootfs ${own:h}/rootfs /var/lib/tinyctr /var/lib/machines)
    names=($^places/*(N-/:t) ${${(f)"$(print -l /rootfs-*(N-/))"}#/rootfs-})
    _alternative \
        'images:image:compadd -a names' \
        'directories:directory:_files -/'
}

_tinyctr_namespaces() {
    if compset -P '*,'; then
        _values -s , namespace @NAMESPACES@
    else
        _values -s , namespace @NAMESPACES@ none
    fi
}

_tinyctr_steps() {
    _values step @STEPS@
}

_tinyctr() {
    _arguments -s -S -A '-*' : \
@OPTIONS@        '1:image:_tinyctr_images' \
        '*:::command:_normal'
}

if [[ ${funcstack[1]} == _tinyctr ]]; then
    _tinyctr "$@"
else
    compdef _tinyctr tinyctr # sourced, and not loaded by compinit
fi
