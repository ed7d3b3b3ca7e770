# bash completion for tinyctr                                    -*- shell-script -*-
# Written by `make generate`.

# The bare names of images, from everywhere that tinyctr looks.
_tinyctr_images() {
    local directory place own
    own=$(type -P -- "${COMP_WORDS[0]:-tinyctr}") || own=tinyctr
    local IFS=:
    # shellcheck disable=SC2086  # a list of directories
    for directory in ${TINYCTR_PATH-} ./rootfs "$(dirname -- "$own")/rootfs" \
        /var/lib/tinyctr /var/lib/machines; do
        for place in "$directory"/*/; do
            if [[ -d $place ]]; then
                place=${place%/}
                printf '%s\n' "${place##*/}"
            fi
        done
    done
    for place in /rootfs-*/; do
        if [[ -d $place ]]; then
            place=${place%/}
            printf '%s\n' "${place#/rootfs-}"
        fi
    done
}

_tinyctr_image() {
    local current=$1 name
    if [[ $current != */* ]]; then
        while IFS= read -r name; do
            [[ $name != "$current"* ]] || COMPREPLY+=("$name")
        done < <(_tinyctr_images | sort -u)
        ((${#COMPREPLY[@]} == 0)) || return 0
    fi
    compopt -o filenames 2> /dev/null
    while IFS= read -r name; do
        COMPREPLY+=("$name")
    done < <(compgen -d -- "$current")
}

# One more element of a list.
_tinyctr_namespaces() {
    local current=$1 before='' name
    [[ $current != *,* ]] || before=${current%,*},
    for name in @NAMESPACES@; do
        if [[ ,$before != *,$name,* && $before$name == "$current"* ]]; then
            COMPREPLY+=("$before$name")
        fi
    done
    [[ -n $before || none != "$current"* ]] || COMPREPLY+=(none)
    compopt -o nospace 2> /dev/null
}

_tinyctr_value() {
    local option=$1 current=$2 word
    case $option in
    --ns) _tinyctr_namespaces "$current" ;;
    --skip) mapfile -t COMPREPLY < <(compgen -W '@STEPS@' -- "$current") ;;
    --dry-run) mapfile -t COMPREPLY < <(compgen -W 'sh' -- "$current") ;;
    --env | -e) [[ $current == *=* ]] || mapfile -t COMPREPLY < <(compgen -e -- "$current") ;;
    --trace)
        compopt -o filenames 2> /dev/null
        word=${current#json:}
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        if [[ $COMP_WORDBREAKS != *:* && $word != "$current" ]]; then
            COMPREPLY=("${COMPREPLY[@]/#/json:}")
        fi
        ;;
    esac
}

# What comes after IMAGE is a command line of its own.
_tinyctr_command() {
    local start=$1 is_first=$2 current=$3 function
    for function in _comp_command_offset _command_offset; do
        if declare -F "$function" > /dev/null; then
            "$function" "$start"
            return
        fi
    done
    compopt -o bashdefault -o default 2> /dev/null
    if [[ $is_first && $current != */* ]]; then
        mapfile -t COMPREPLY < <(compgen -c -- "$current" | sort -u)
    fi
}

_tinyctr() {
    COMPREPLY=()
    # What the user sees as one word, bash has taken apart at each = and :.
    local words=() places=() word index glue=''
    for ((index = 1; index <= COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ $word == [=:]* && ${#words[@]} -gt 0 ]]; then
            words[${#words[@]} - 1]+=$word
            glue=yes
        elif [[ $glue ]]; then
            words[${#words[@]} - 1]+=$word
            glue=''
        else
            words+=("$word")
            places+=("$index")
        fi
    done
    local last=$((${#words[@]} - 1)) at=0 option='' image=''
    ((last >= 0)) || return 0
    # Which of the words is IMAGE, and whether the last one is the value of an option.
    [[ ${words[0]} != run || $last -eq 0 ]] || at=1
    while [[ $at -lt $last && ! $image ]]; do
        word=${words[at]} option=''
        if [[ $word == -- ]]; then
            image=$((at + 1))
        elif [[ $word =~ ^(@VALUED@)$ ]]; then
            option=$word
        elif [[ $word =~ ^-[@FLAGS@]*([@LETTERS@])$ ]]; then
            option=-${BASH_REMATCH[1]}
        elif [[ $word != -?* ]]; then
            image=$at
        fi
        at=$((at + 1))
        if [[ $option && $at -lt $last ]]; then
            at=$((at + 1)) option='' # its value stood there
        fi
    done
    local current=${words[last]}
    if [[ $image && $image -lt $last ]]; then
        local first=$((image + 1)) is_first=''
        ((first < last)) || is_first=yes
        _tinyctr_command "${places[first]}" "$is_first" "$current"
    elif [[ $image ]]; then
        _tinyctr_image "$current"
    elif [[ $option ]]; then
        _tinyctr_value "$option" "$current"
    elif [[ $current == --*=* ]]; then
        _tinyctr_value "${current%%=*}" "${current#*=}"
        if [[ $COMP_WORDBREAKS != *=* ]]; then
            COMPREPLY=("${COMPREPLY[@]/#/${current%%=*}=}")
        fi
    elif [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '@OPTIONS@' -- "$current")
        [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2> /dev/null
    else
        _tinyctr_image "$current"
    fi
}

complete -F _tinyctr tinyctr
