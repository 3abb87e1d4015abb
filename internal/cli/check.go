package cli

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/monitors/watch"
)

const checkLong = `Check reads a definition (files, or folders of .yaml files, that together make one plane) and prints
every mistake at once as file:line:column. Of a definition without mistakes it prints what it comes to: how
each view is reached from its source, its features, and the most bytes that an entity's state and a lookup can have.`

func (a *app) checkCommand() *cobra.Command {
	var connections string
	cmd := &cobra.Command{
		Use:     "check FILE...",
		Short:   "Check a definition and print what it comes to",
		Long:    checkLong,
		Example: "  freshet check plane.yaml\n  freshet check features/ --connections production.yaml --output json",
		Args:    atLeast(1),
		RunE: func(_ *cobra.Command, args []string) error {
			plane, err := a.loadPlane(args, connections)
			if err != nil {
				return err
			}
			if a.json() {
				return printJSON(a.Stdout, checkResult{OK: true, Issues: []issueRow{}, Warnings: issueRows(plane.Warnings, config.Warning), Plane: summarize(plane)})
			}
			return printCheck(a.Stdout, plane)
		},
	}
	addConnections(cmd, &connections)
	return cmd
}

// checkResult is what check prints for programs.
type checkResult struct {
	OK       bool         `json:"ok"`
	Issues   []issueRow   `json:"issues"`
	Warnings []issueRow   `json:"warnings"`
	Plane    *planeResult `json:"plane,omitempty"`
}

type planeResult struct {
	Project  string          `json:"project"`
	Views    []viewResult    `json:"views"`
	Services []serviceResult `json:"feature_services"`
}

type viewResult struct {
	Name        string          `json:"name"`
	Entity      string          `json:"entity"`
	Source      string          `json:"source"`
	Path        string          `json:"path"` // keyed or repartitioned
	Fingerprint string          `json:"fingerprint"`
	EntityBytes int             `json:"worst_case_entity_bytes"`
	LookupBytes int             `json:"worst_case_lookup_bytes"`
	Features    []featureResult `json:"features"`
}

type featureResult struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Aggregate string `json:"aggregate,omitempty"`
	Window    string `json:"window,omitempty"`
}

type serviceResult struct {
	Name     string `json:"name"`
	Features int    `json:"features"`
	Derived  int    `json:"derived"`
	Request  int    `json:"request_fields"`
}

func summarize(p *config.Plane) *planeResult {
	r := &planeResult{Project: p.Project, Views: []viewResult{}, Services: []serviceResult{}}
	for _, v := range p.Views {
		entity, lookup := v.Layout.WorstCase()
		vr := viewResult{
			Name: v.Name, Entity: v.Entity.Name, Source: v.Source.Name, Path: viewPath(v), Fingerprint: fmt.Sprintf("%x", v.Fingerprint[:]),
			EntityBytes: entity, LookupBytes: lookup, Features: []featureResult{},
		}
		for _, f := range v.Features {
			fr := featureResult{Name: f.Name, Type: f.Type.String(), Aggregate: f.Aggregate}
			if f.Window > 0 {
				fr.Window = windowText(f.Window)
			}
			vr.Features = append(vr.Features, fr)
		}
		r.Views = append(r.Views, vr)
	}
	for _, s := range p.Services {
		r.Services = append(r.Services, serviceResult{Name: s.Name, Features: len(s.Features), Derived: len(s.Derived), Request: len(s.Request)})
	}
	return r
}

// viewPath says how a view's events reach it: straight from the source's topic, or through a repartition topic.
func viewPath(v *config.View) string {
	if v.Direct {
		return "keyed"
	}
	return "repartitioned"
}

func printCheck(w io.Writer, p *config.Plane) error {
	fmt.Fprintf(w, "%s is right: %s, %s, %s, %s.\n\n", p.Project,
		plural(len(p.Entities), "entity", "entities"), plural(len(p.Sources), "source", "sources"),
		plural(len(p.Views), "feature view", "feature views"), plural(len(p.Services), "feature service", "feature services"))
	t := newTable(left("VIEW"), left("ENTITY"), left("SOURCE"), left("PATH"), right("FEATURES"), right("ENTITY, WORST CASE"), right("LOOKUP, WORST CASE"))
	for _, v := range summarize(p).Views {
		t.add(v.Name, v.Entity, v.Source, v.Path, strconv.Itoa(len(v.Features)), byteSize(v.EntityBytes), byteSize(v.LookupBytes))
	}
	if err := t.print(w); err != nil {
		return err
	}
	if err := printMonitors(w, p); err != nil {
		return err
	}
	if len(p.Warnings) > 0 {
		fmt.Fprintln(w)
	}
	printIssues(w, "warning: ", issueRows(p.Warnings, config.Warning))
	return nil
}

// printMonitors shows how each monitor looks, and from which p-value on a change is no chance.
func printMonitors(w io.Writer, p *config.Plane) error {
	if len(p.Monitors) == 0 {
		return nil
	}
	t := newTable(left("MONITOR"), left("MODEL"), right("COLUMNS"), right("WINDOW"), right("EVERY"), right("FALSE ALARMS IN 30 DAYS"), right("LEVEL"))
	var warnings []string
	for _, m := range p.Monitors {
		e, err := watch.Expect(m)
		if err != nil {
			return err
		}
		t.add(m.Name, m.Model.Name, strconv.Itoa(len(m.Columns)), windowText(m.Size), windowText(m.Every), strconv.FormatFloat(m.FalseAlarms, 'g', 3, 64), strconv.FormatFloat(e.Level, 'g', 2, 64))
		for _, x := range e.Warnings {
			warnings = append(warnings, "warning: monitor "+m.Name+": "+x)
		}
	}
	fmt.Fprintln(w)
	if err := t.print(w); err != nil {
		return err
	}
	for _, x := range warnings {
		fmt.Fprintln(w, x)
	}
	return nil
}
