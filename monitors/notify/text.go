package notify

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/freshet-io/freshet/monitors/alert"
)

// seriesName is a series as people say it.
func seriesName(s alert.Series) string {
	name := cmp.Or(s.Column, "all columns")
	if s.Slice != "" {
		name += " (" + s.Slice + ")"
	}
	if s.Check != "" {
		return name + " " + string(s.Kind) + " " + s.Check
	}
	return name + " " + string(s.Kind)
}

// evidenceText is the evidence of a message, a few lines for people.
func evidenceText(m *alert.Message) string {
	var b strings.Builder
	for _, e := range m.Evidence[:min(len(m.Evidence), 3)] {
		fmt.Fprintf(&b, "%s: %s effect %.3g, threshold %.3g, p %.2g, n %d against %d", seriesName(e.Series), e.Method,
			float64(e.Effect), float64(e.Threshold), float64(e.P), e.Current.N, e.Reference.N)
		if e.Against != "" {
			fmt.Fprintf(&b, " (%s)", e.Against)
		}
		for _, v := range e.Movers {
			fmt.Fprintf(&b, "; %s %.3g%% → %.3g%%", v.Bin, 100*float64(v.Reference), 100*float64(v.Current))
		}
		if e.Query != "" {
			fmt.Fprintf(&b, "\n  %s", e.Query)
		}
		b.WriteByte('\n')
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// cut bounds text to n characters, as receivers count, and says that there was more.
func cut(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}
