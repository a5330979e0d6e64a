package cli

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// complete prints a script that knows the commands, their flags and the values
// of those that have a fixed set. Everything in it comes from the grammar.
func complete(std IO, app *kong.Application, c completionCommand) error {
	var b bytes.Buffer
	switch c.Shell {
	case "bash":
		completeBash(&b, app)
	case "zsh":
		// zsh reads bash's completions, and shows the same.
		b.WriteString("#compdef weir\nautoload -U +X bashcompinit && bashcompinit\n")
		completeBash(&b, app)
	case "fish":
		completeFish(&b, app)
	}
	return write(std.Out, b.Bytes())
}

// level is a command with what can stand behind it.
type level struct {
	path     string // "store verify"; empty for weir itself
	commands []*kong.Node
	flags    []*kong.Flag
	values   []string // of its argument, where there is a fixed set
}

func levels(app *kong.Application) []level {
	var out []level
	var walk func(n *kong.Node, path string)
	walk = func(n *kong.Node, path string) {
		l := level{path: path, flags: app.Flags}
		if n != app.Node {
			l.flags = append(l.flags[:len(l.flags):len(l.flags)], n.Flags...)
		}
		for _, p := range n.Positional {
			l.values = append(l.values, enums(p)...)
		}
		for _, c := range n.Children {
			if c.Type == kong.CommandNode && !c.Hidden {
				l.commands = append(l.commands, c)
			}
		}
		out = append(out, l)
		for _, c := range l.commands {
			walk(c, strings.TrimSpace(path+" "+c.Name))
		}
	}
	walk(app.Node, "")
	return out
}

// enums are the values that a flag or an argument takes; none where any will
// do.
func enums(v *kong.Value) []string {
	var out []string
	if v.Enum == "" {
		return nil
	}
	for _, e := range strings.Split(v.Enum, ",") {
		if e != "" {
			out = append(out, e)
		}
	}
	return out
}

func completeBash(b *bytes.Buffer, app *kong.Application) {
	b.WriteString(`# Completes the commands and flags of weir.
_weir() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= words= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path ${COMP_WORDS[i]}" in
`)
	all := levels(app)
	var paths []string
	for _, l := range all {
		if l.path != "" {
			paths = append(paths, fmt.Sprintf("%q", " "+l.path))
		}
	}
	fmt.Fprintf(b, "      %s) path=\"$path ${COMP_WORDS[i]}\" ;;\n    esac\n  done\n  case \"$path\" in\n", strings.Join(paths, "|"))
	for _, l := range all {
		pattern := `""`
		if l.path != "" {
			pattern = fmt.Sprintf("%q", " "+l.path)
		}
		fmt.Fprintf(b, "    %s)\n", pattern)
		var words []string
		for _, c := range l.commands {
			words = append(words, c.Name)
		}
		words = append(words, l.values...)
		var cases []string
		for _, f := range l.flags {
			if f.Hidden {
				continue
			}
			words = append(words, "--"+f.Name)
			name := "--" + f.Name
			if f.Short != 0 {
				name += "|-" + string(f.Short)
			}
			if e := enums(f.Value); len(e) > 0 {
				cases = append(cases, fmt.Sprintf("        %s) words=%q ;;\n", name, strings.Join(e, " ")))
			} else if f.PlaceHolder == "FILE" || f.PlaceHolder == "DIR" {
				cases = append(cases, fmt.Sprintf("        %s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", name))
			}
		}
		fmt.Fprintf(b, "      words=%q\n", strings.Join(words, " "))
		if len(cases) > 0 {
			fmt.Fprintf(b, "      case \"$prev\" in\n%s      esac\n", strings.Join(cases, ""))
		}
		b.WriteString("      ;;\n")
	}
	b.WriteString(`  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  case "$path" in
    " import"|" restore"|" backup") [[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- "$cur")) ;;
  esac
}
complete -F _weir weir
`)
}

func completeFish(b *bytes.Buffer, app *kong.Application) {
	b.WriteString("# Completes the commands and flags of weir.\ncomplete -c weir -f\n")
	quoted := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'" }
	for _, l := range levels(app) {
		parts := strings.Fields(l.path)
		condition := "__fish_use_subcommand"
		if len(parts) > 0 {
			var seen []string
			for _, p := range parts {
				seen = append(seen, "__fish_seen_subcommand_from "+p)
			}
			condition = strings.Join(seen, "; and ")
		}
		for _, c := range l.commands {
			when := condition
			if len(parts) > 0 {
				var names []string
				for _, s := range l.commands {
					names = append(names, s.Name)
				}
				when += "; and not __fish_seen_subcommand_from " + strings.Join(names, " ")
			}
			fmt.Fprintf(b, "complete -c weir -n %s -a %s -d %s\n", quoted(when), c.Name, quoted(c.Help))
		}
		for _, v := range l.values {
			fmt.Fprintf(b, "complete -c weir -n %s -a %s\n", quoted(condition), v)
		}
		for _, f := range l.flags {
			if f.Hidden {
				continue
			}
			fmt.Fprintf(b, "complete -c weir -n %s -l %s", quoted(condition), f.Name)
			if f.Short != 0 {
				fmt.Fprintf(b, " -s %c", f.Short)
			}
			switch e := enums(f.Value); {
			case len(e) > 0:
				fmt.Fprintf(b, " -x -a %s", quoted(strings.Join(e, " ")))
			case f.PlaceHolder == "FILE" || f.PlaceHolder == "DIR":
				b.WriteString(" -r -F")
			case !f.IsBool():
				b.WriteString(" -x")
			}
			fmt.Fprintf(b, " -d %s\n", quoted(f.Help))
		}
	}
	b.WriteString("complete -c weir -n '__fish_seen_subcommand_from import restore backup' -F\n")
}
