# What zsh makes of each line at a Tab: complete.zsh COMPLETION LINE...
# In an interactive shell on a terminal of its own: completion works nowhere else.
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; autoload -Uz compinit; compinit -u -D; source ${(q)1}"
shift
# In two words, so that the echo of this line is not taken for an answer.
zpty -w shell 'told() { zle complete-word; print -r -- "BUF""FER[$BUFFER]"; BUFFER=; zle accept-line }'
zpty -w shell "zle -N told; bindkey '^T' told"
for line; do
    zpty -w -n shell "$line"$'\x14'
    zpty -r shell answer '*BUFFER\[*\]*'
    answer=${answer##*BUFFER\[}
    print -r -- "${answer%%\]*}"
done
