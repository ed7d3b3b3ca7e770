# What bash would offer for a command line: complete.bash COMPLETION LIBRARY WORD...
# LIBRARY is bash-completion's, or empty. The last word is the one that is being typed.
# shellcheck shell=bash
completion=$1 library=$2
shift 2
# shellcheck disable=SC1090  # whichever
[ -z "$library" ] || . "$library"
# shellcheck disable=SC1090
. "$completion"
COMP_WORDS=(tinyctr "$@") COMP_CWORD=$# COMP_LINE="tinyctr $*" COMP_TYPE=9 COMP_KEY=9
# shellcheck disable=SC2034  # the library reads it
COMP_POINT=${#COMP_LINE}
# How bash itself calls it: the function that is registered for the name.
read -r _complete _dash_f function _name < <(complete -p tinyctr)
COMPREPLY=()
"$function" tinyctr "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2> /dev/null
((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
