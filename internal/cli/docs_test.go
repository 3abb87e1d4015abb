package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestManualHasEveryCommandFlagAndExitCode holds docs/cli.md to the commands.
func TestManualHasEveryCommandFlagAndExitCode(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(text)
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		name := strings.TrimPrefix(c.CommandPath(), "freshet ")
		section := manual
		if top, _, _ := strings.Cut(name, " "); c.HasParent() && top != "version" {
			_, section, _ = strings.Cut(manual, "\n## "+top+"\n")
			section, _, _ = strings.Cut(section, "\n## ")
			if section == "" {
				t.Errorf("docs/cli.md has no section %q", top)
			}
		}
		if !strings.Contains(section, c.Name()) && !strings.Contains(manual, "`freshet "+name) {
			t.Errorf("docs/cli.md does not mention the command %q", name)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !strings.Contains(section, "`--"+f.Name) {
				t.Errorf("docs/cli.md does not mention --%s of %q", f.Name, name)
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit((&app{}).rootCommand())
	for _, line := range strings.Split(rootLong[strings.Index(rootLong, "Exit codes:"):], "\n")[1:] {
		code, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.Contains(manual, "\n| "+code+" | ") {
			t.Errorf("docs/cli.md does not mention exit code %s", code)
		}
	}
}
