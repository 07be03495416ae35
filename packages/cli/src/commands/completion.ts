import { buildCommand } from '@stricli/core';
import type { Context } from '../context.js';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/**
 * Each hands what was typed so far to `wakame __complete`, which prints a proposal a line, with a tab before what it means. Bash tears words
 * apart at ':' and '=' (a URL, a name such as `a:b`): it gives the line as it stands, and takes what is new behind the last of them.
 */
const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `_wakame() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("$(printf '%q' "\${line%%$'\\t'*}")")
  done < <(wakame __complete --line "\${COMP_LINE:0:COMP_POINT}" "\${COMP_WORDS[COMP_CWORD]}" 2>/dev/null)
}
complete -o default -F _wakame wakame
`,
  zsh: `#compdef wakame
_wakame() {
  local -a proposals
  local line
  for line in "\${(@f)$(wakame __complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ -n $line ]] && proposals+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  (( $#proposals )) && _describe wakame proposals || _files
}
compdef _wakame wakame
`,
  fish: `complete -c wakame -f -a '(wakame __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
complete -c wakame -n 'string match -qr -- "^(-f|--file)$" (commandline -opc)[-1]' -F
`,
};

export const completion = buildCommand({
  docs: {
    brief: 'Print the script that teaches a shell to complete the command',
    fullDescription: 'Commands, options, and the names of queues and exchanges of the broker that WAKAME_URL names.',
    customUsage: [
      '<bash|zsh|fish>',
      { input: 'bash >> ~/.bashrc', brief: 'In bash' },
      { input: 'zsh >> ~/.zshrc', brief: 'In zsh, after compinit' },
      { input: 'fish > ~/.config/fish/completions/wakame.fish', brief: 'In fish' },
    ],
  },
  parameters: {
    positional: {
      kind: 'tuple',
      parameters: [
        {
          brief: 'bash, zsh or fish',
          placeholder: 'shell',
          parse: (text: string): Shell => {
            const shell = SHELLS.find((name) => name === text);
            if (shell === undefined) throw new Error(`bash, zsh or fish is wanted, not '${text}'`);
            return shell;
          },
          proposeCompletions: (partial) => SHELLS.filter((name) => name.startsWith(partial)),
        },
      ],
    },
  },
  func(this: Context, _flags: object, shell: Shell) {
    this.host.stdout.write(SCRIPTS[shell]);
  },
});
