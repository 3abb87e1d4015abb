package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/monitors/profile"
	"github.com/freshet-io/freshet/monitors/report"
)

func numbers(t *testing.T, typ feature.Type, ref, cur []float64) (r, c *profile.Profile) {
	t.Helper()
	bins, err := profile.NumericBins(typ, ref, profile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, c = profile.New(bins, false), profile.New(bins, false)
	r.AddFloat64s(ref)
	c.AddFloat64s(cur)
	return r, c
}

func total(h *report.Histogram) (ref, cur float64) {
	for _, b := range append(append([]report.Bar(nil), h.Bars...), h.Aside...) {
		ref += b.Ref
		cur += b.Cur
	}
	return ref, cur
}

func TestAHistogramShowsEveryValue(t *testing.T) {
	var ref, cur []float64
	for i := range 1000 {
		ref = append(ref, float64(i%100))
		cur = append(cur, float64(i%100)*3-20)
	}
	cur = append(cur, 1e9, math.NaN(), math.Inf(1), math.Inf(-1))
	for _, typ := range []feature.Type{feature.Float64, feature.Int64, feature.Timestamp} {
		r, c := numbers(t, typ, ref, cur)
		c.AddNulls(10)
		c.AddMistyped(2)
		h := report.FromProfiles(r, c)
		if a, b := total(h); math.Abs(a-1) > 1e-9 || math.Abs(b-1) > 1e-9 {
			t.Errorf("%s: %v of the reference and %v of the current side are shown", typ, a, b)
		}
		var aside []string
		for _, b := range h.Aside {
			aside = append(aside, b.Label)
		}
		if got := strings.Join(aside, ","); !strings.HasSuffix(got, "null,NaN,+Inf,-Inf,mistyped") {
			t.Errorf("%s: aside %s", typ, got)
		}
	}
}

func TestWholeNumbersHaveABarEach(t *testing.T) {
	r, c := numbers(t, feature.Int64, []float64{1, 1, 1, 2, 2, 4}, []float64{4, 4})
	h := report.FromProfiles(r, c)
	if len(h.Bars) != 4 || h.Bars[0].Label != "1" || h.Bars[0].Ref != 0.5 || h.Bars[3].Cur != 1 || len(h.Aside) != 0 {
		t.Errorf("%+v", h)
	}
}

func TestAHistogramOfEdgeCases(t *testing.T) {
	for _, tc := range []struct {
		name     string
		ref, cur []float64
	}{
		{"constant", []float64{5, 5}, []float64{5}},
		{"constant and far", []float64{5, 5}, []float64{1e300}},
		{"no number before", []float64{math.NaN()}, []float64{3}},
		{"no number now", []float64{3}, []float64{math.NaN()}},
		{"extremes", []float64{-math.MaxFloat64, math.MaxFloat64}, []float64{0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, c := numbers(t, feature.Float64, tc.ref, tc.cur)
			h := report.FromProfiles(r, c)
			if a, b := total(h); math.Abs(a-1) > 1e-9 || math.Abs(b-1) > 1e-9 {
				t.Errorf("%v and %v are shown: %+v", a, b, h)
			}
		})
	}
	r, c := numbers(t, feature.Float64, []float64{1}, nil)
	if report.FromProfiles(r, c) != nil || report.FromProfiles(nil, c) != nil {
		t.Error("a histogram of nothing")
	}
}

// TestThePageIsWholeAndHarmless renders names that are HTML, and looks for anything that is loaded or run.
func TestThePageIsWholeAndHarmless(t *testing.T) {
	const evil = `<script>alert(1)</script><img src=x onerror=alert(2)>"'`
	r, c := numbers(t, feature.Float64, []float64{1, 2, 3, 4}, []float64{3, 4, 9, math.NaN()})
	var buf bytes.Buffer
	err := report.Render(&buf, report.Page{
		Title: evil, Subtitle: evil, Facts: []report.Fact{{Name: evil, Value: evil}}, Headings: []string{evil},
		Columns: []report.Column{
			{
				Name: evil, Verdict: evil, Level: report.Bad, Cells: []string{evil}, Notes: []string{evil}, Histogram: report.FromProfiles(r, c),
				Movers: []report.Mover{{Bin: evil, Ref: 0.1, Cur: 0.2}, {Bin: "", Ref: 1e-5, Cur: math.NaN()}},
			},
			{Name: "over time", Level: report.Good, Series: &report.Series{Times: []string{"a", evil, "c"}, Scores: []float64{0.1, math.NaN(), 0.3}, Threshold: 0.2}},
			{Name: "infinite", Level: report.Neutral, Series: &report.Series{Scores: []float64{math.Inf(1)}, Threshold: 0.2}},
			{Name: "a list", Histogram: &report.Histogram{Bars: []report.Bar{{Label: evil, Ref: 0.4, Cur: 0.6}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	page := buf.String()
	d := xml.NewDecoder(strings.NewReader(strings.NewReplacer("<!doctype html>", "", "<meta charset=\"utf-8\">", "").Replace(page)))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	svgs := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch e.Name.Local {
		case "svg":
			svgs++
		case "script", "img", "link", "iframe", "object", "embed", "image", "use", "foreignObject":
			t.Errorf("the page has a <%s>", e.Name.Local)
		}
		for _, a := range e.Attr {
			if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "src" || a.Name.Local == "href" && !strings.HasPrefix(a.Value, "#") {
				t.Errorf("<%s> has %s=%q", e.Name.Local, a.Name.Local, a.Value)
			}
			if strings.Contains(a.Value, "NaN") && a.Name.Local != "aria-label" || strings.Contains(a.Value, "Inf") {
				t.Errorf("<%s> is drawn at %s=%q", e.Name.Local, a.Name.Local, a.Value)
			}
		}
	}
	if svgs < 7 {
		t.Errorf("%d pictures", svgs)
	}
	if strings.Contains(page, "url(") || strings.Contains(page, "@import") {
		t.Error("the page loads something")
	}
	if !strings.Contains(page, "prefers-color-scheme: dark") {
		t.Error("the page has no dark colours")
	}
}

func TestAFrequentValueStandsAside(t *testing.T) {
	var ref, cur []float64
	for i := range 100 {
		ref, cur = append(ref, 0, 0, float64(i)+0.5), append(cur, 0, float64(i)+0.5)
	}
	r, c := numbers(t, feature.Float64, ref, cur)
	h := report.FromProfiles(r, c)
	if len(h.Aside) == 0 || h.Aside[0].Label != "exactly 0" || math.Abs(h.Aside[0].Ref-2.0/3) > 1e-12 || h.Aside[0].Cur != 0.5 {
		t.Errorf("aside: %+v", h.Aside)
	}
	if a, b := total(h); math.Abs(a-1) > 1e-9 || math.Abs(b-1) > 1e-9 {
		t.Errorf("%v and %v are shown", a, b)
	}
}
