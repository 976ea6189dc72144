"""What bash, zsh and fish do when a person presses Tab: a script for each asks `rampd` what the word could become.

The three scripts send the line up to the cursor, and get a line for each candidate: its kind, its value, and what it means.
click has scripts of its own. That of bash expands `*` in a candidate and loses a `:`, and none of them completes `--tag=20`.
"""

import os
import re
from dataclasses import dataclass, field
from typing import Final

from click.shell_completion import CompletionItem, ShellComplete, add_completion_class

_BASH = r"""
_rampd() {
    local kind value rest
    COMPREPLY=()
    while IFS=$'\t' read -r kind value rest; do
        case $kind in
            plain) COMPREPLY+=("$value") ;;
            file) compopt -o default ;;
        esac
    done < <(_RAMPD_COMPLETE=bash_complete COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
        "${1/#\~/$HOME}" 2>/dev/null)
}
complete -o nosort -F _rampd rampd 2>/dev/null || complete -F _rampd rampd
""".lstrip()

_ZSH = r"""
#compdef rampd

_rampd() {
    local kind value about
    local -a values shown long
    while IFS=$'\t' read -r kind value about; do
        case $kind in
            plain)
                values+=("$value")
                shown+=("$value${about:+  -- $about}")
                [[ -n $about ]] && long=(-l)
                ;;
            file)
                [[ $PREFIX == -*=* ]] && compset -P 1 '*='
                _files
                ;;
        esac
    done < <(_RAMPD_COMPLETE=zsh_complete COMP_LINE="${(j: :)words[1,CURRENT]}" ${~${(Q)words[1]}} 2>/dev/null)
    (( $#values )) && compadd -V rampd $long -d shown -a -- values
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _rampd "$@"
else
    compdef _rampd rampd
fi
""".lstrip()

_FISH = r"""
function __rampd
    set -l line (commandline -cp | string collect)
    for answer in (env _RAMPD_COMPLETE=fish_complete COMP_LINE="$line" rampd 2>/dev/null)
        set -l parts (string split --max 2 \t -- $answer)
        switch $parts[1]
            case plain
                printf '%s\t%s\n' $parts[2] "$parts[3]"
            case file
                set -l typed (string match --regex '^(-[^=]*=|)(.*)$' -- (commandline -ct | string collect))
                for path in (__fish_complete_path $typed[3])
                    printf '%s%s\n' "$typed[2]" $path
                end
        end
    end
end
complete --command rampd --no-files --arguments '(__rampd)'
""".lstrip()


@dataclass(slots=True)
class Line:
    """A command line that a person has not finished, as a shell would read it."""

    words: list[str] = field(default_factory=list)
    """The words before the last one."""
    last: str = ""
    """The word at the cursor, without quotes. Empty after a space."""
    quote: str = ""
    """The quote that is still open at the end."""
    start: int = 0
    """Where in `last` the part begins that readline replaces: after a quote that is open, or the last of its word breaks."""

    @classmethod
    def read(cls, text: str, breaks: str = "") -> "Line":
        """Reads a line. `breaks` are characters besides spaces at which readline begins a new word."""
        line, is_word, is_escaped = cls(), False, False
        for character in text:
            if not is_escaped and not line.quote and character.isspace():
                if is_word:
                    line.words.append(line.last)
                line.last, line.start, is_word = "", 0, False
                continue
            is_word = True
            if is_escaped or (line.quote and character not in {line.quote, "\\"}):
                line.last, is_escaped = line.last + character, False
            elif character == "\\" and line.quote != "'":
                is_escaped = True
            elif character == line.quote:
                line.quote = ""
            elif not line.quote and character in "'\"":
                line.quote, line.start = character, len(line.last)
            else:
                line.last += character
                if character in breaks:
                    # Readline takes `@` for the beginning of a host name, and so for a part of the word.
                    line.start = len(line.last) - (character == "@")
        return line


class _Shell(ShellComplete):
    """A shell whose script sends its line in COMP_LINE."""

    _breaks = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        self._line = Line.read(os.environ.get("COMP_LINE", ""), self._breaks)
        return self._line.words[1:], self._line.last

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Returns candidates for the whole word, also where it is `--tag=20`. click returns only what comes after the `=`."""
        option, equals, _ = incomplete.partition("=")
        last = args[-1] if args else ""
        if last.startswith("-") and last != "--" and "=" not in last and not incomplete.startswith("-"):
            # click forgets the arguments of a line that ends with an option without its value.
            return super().get_completions(args[:-1], f"{last}={incomplete}")
        found = super().get_completions(args, incomplete)
        if equals and option.startswith("-"):
            for item in found:
                item.value = f"{option}={item.value}"
        return found

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type}\t{item.value}\t{item.help or ''}"

    def source(self) -> str:
        return self.source_template


@add_completion_class
class Bash(_Shell):
    """Readline inserts a candidate as it is, so it has to be quoted here, and to begin where readline begins the word."""

    name = "bash"
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        self._breaks = os.environ.get("COMP_WORDBREAKS", "")
        return super().get_completion_args()

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        found = super().get_completions(args, incomplete)
        unquotable = {"'": "'", '"': "!"}.get(self._line.quote)
        return [each for each in found if not (unquotable and unquotable in each.value)]

    def format_completion(self, item: CompletionItem) -> str:
        item.value = _quoted(item.value[self._line.start :], self._line.quote)
        return super().format_completion(item)


@add_completion_class
class Zsh(_Shell):
    """It quotes candidates itself."""

    name = "zsh"
    source_template = _ZSH


@add_completion_class
class Fish(_Shell):
    """It quotes candidates itself."""

    name = "fish"
    source_template = _FISH


SCRIPTS: Final = {each.name: each.source_template for each in (Bash, Zsh, Fish)}


def _quoted(value: str, quote: str) -> str:
    """Returns a value so that bash takes it as it is, inside of a quote that is open or outside of quotes."""
    if quote == "'":
        return value
    return re.sub(r'([$`"\\])' if quote else r"([^\w@%+=:,./-])", r"\\\1", value)
