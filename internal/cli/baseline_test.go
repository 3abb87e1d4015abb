package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// trainingFiles are the same training set in both formats, and one in which a column has changed its type.
func trainingFiles(t *testing.T) (parquet, csv, typed string) {
	t.Helper()
	dir := t.TempDir()
	parquet, csv, typed = filepath.Join(dir, "train.parquet"), filepath.Join(dir, "train.csv"), filepath.Join(dir, "typed.csv")
	type row struct {
		Spend   *float64 `parquet:"spend_1d,optional"`
		Orders  int64    `parquet:"spend__orders_1d"`
		Country string   `parquet:"last_country"`
		Region  string   `parquet:"region"`
		Label   bool     `parquet:"label"`
	}
	var rows []row
	text, other := "region,spend_1d,spend__orders_1d,last_country,label\n", "spend_1d,orders_1d\n"
	for i := range 3000 {
		r := row{Orders: int64(i % 12), Country: []string{"de", "fr", "us"}[i%3], Region: []string{"eu", "us"}[i%2]}
		spend := "NA"
		if i%10 > 0 {
			x := float64(50 + i*7919%1000)
			r.Spend, spend = &x, fmt.Sprint(x)
		}
		rows = append(rows, r)
		text += fmt.Sprintf("%s,%s,%d,%s,false\n", r.Region, spend, r.Orders, r.Country)
		other += fmt.Sprintf("%d,many\n", 80+i%2000)
	}
	if err := pq.WriteFile(parquet, rows); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{csv: text, typed: other} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return parquet, csv, typed
}

func TestBaselineFromFiles(t *testing.T) {
	s := newShop(t)
	parquet, csv, typed := trainingFiles(t)
	expect(t, ok(t, "baseline", "list", s.plane).stdout, "scorer_1  scorer  1        not yet")

	r := ok(t, "baseline", "create", "scorer_1", s.plane, "--from", parquet)
	expect(t, r.stdout, "scorer_1: 3,000 rows of train.parquet", "spend_1d      float64  10.0 %", "orders_1d     int64", "last_country  string", "slices by region: eu (1,500), us (1,500)")
	expect(t, r.stderr, "train.parquet does not have prediction: not watched")
	fromParquet := ok(t, "baseline", "show", "scorer_1", s.plane, "--column", "spend_1d", "--slice", "region=eu", "--output", "json").stdout

	ok(t, "baseline", "create", "scorer_1", s.plane, "--from", csv, "--null", "NA")
	if got := ok(t, "baseline", "show", "scorer_1", s.plane, "--column", "spend_1d", "--slice", "region=eu", "--output", "json").stdout; got != fromParquet {
		t.Errorf("of CSV the bins are %s\nof Parquet %s", got, fromParquet)
	}
	var bins []binRow
	if err := json.Unmarshal([]byte(fromParquet), &bins); err != nil || len(bins) < 20 {
		t.Fatalf("%d bins: %v", len(bins), err)
	}
	var rows uint64
	for _, b := range bins {
		rows += b.Count
	}
	if rows != 1500 {
		t.Errorf("the bins of the slice have %d rows, want 1500", rows)
	}

	r = ok(t, "baseline", "create", "scorer_2", s.plane, "--from", typed, "--rows", "2500")
	expect(t, r.stderr, "typed.csv does not have last_country, prediction, region: not watched", "column orders_1d: 2,500 of 2,500 values are no int64")
	r = ok(t, "baseline", "diff", "scorer_1", "scorer_2", s.plane)
	expect(t, r.stdout, "spend_1d      drifted", "orders_1d     type_changed", "last_country  missing")

	expect(t, ok(t, "baseline", "delete", "scorer_2", s.plane).stdout, "Deleted scorer_2.")
	expect(t, ok(t, "baseline", "list", s.plane).stdout, "scorer_2  scorer  2        not yet")
	r = run(t, "baseline", "show", "scorer_2", s.plane)
	if r.code != exitNotFound || !strings.Contains(r.stderr, "has not been made yet: freshet baseline create scorer_2 --from FILE") {
		t.Errorf("%+v", r)
	}
	r = ok(t, "baseline", "create", "scorer_1", s.plane, "--from", csv, "--rows", "3")
	expect(t, r.stderr, "monitor inputs judges no window by 3 rows: its min_sample is 300")
}

// Of the topic, the inferences of the baseline's version and of the time are taken, as they are logged.
func TestBaselineFromTopic(t *testing.T) {
	s := newShop(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.seeds...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if r := run(t, "baseline", "create", "scorer_1", s.plane, "--from-topic"); r.code != exitNotFound {
		t.Errorf("without the topic: %+v", r)
	}
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 3, 1, nil, "scores"); err != nil {
		t.Fatal(err)
	}
	var recs []*kgo.Record
	for i := range 4000 {
		at := time.Now().Add(-time.Duration(i+1) * time.Minute)
		text := fmt.Sprintf(`{"id":"i%d","at":%d,"version":"%d","p":0.5,"region":"eu","features":{"spend_1d":%d,"orders_1d":3}}`, i, at.UnixMicro(), 1+i%2, i)
		recs = append(recs, &kgo.Record{Topic: "scores", Key: fmt.Append(nil, i), Value: []byte(text)})
	}
	recs = append(recs, &kgo.Record{Topic: "scores", Value: []byte("{")})
	if err := cl.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	r := ok(t, "baseline", "create", "scorer_1", s.plane, "--from-topic", "--since", "1000m", "--until", "200m")
	expect(t, r.stdout, "scorer_1: 400 rows of inferences of scores since 20", "prediction    float64", "last_country  string   100.0 %", "slices by region: eu (400)", "how rows vary over time is not known")
	expect(t, r.stderr, "scores has 400 inferences of version 1 since 20", "and it takes 1,000. ", ": take a longer time (--since, --until)", "1 record of scores cannot be read", "400 inferences are not of version 1")
	expect(t, ok(t, "baseline", "create", "scorer_1", s.plane, "--from-topic", "--rows", "300", "--output", "json").stdout, `"rows": 300`)
	if r := run(t, "baseline", "create", "scorer_1", s.plane, "--from-topic", "--since", "1s"); r.code != exitFailure || !strings.Contains(r.stderr, "there are no rows") {
		t.Errorf("of a second: %+v", r)
	}
}

func TestBaselineMistakes(t *testing.T) {
	s := newShop(t)
	_, csv, _ := trainingFiles(t)
	empty := filepath.Join(t.TempDir(), "none.csv")
	if err := os.WriteFile(empty, []byte("x,y\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ragged := filepath.Join(t.TempDir(), "ragged.csv")
	if err := os.WriteFile(ragged, []byte("spend_1d,orders_1d\n1,2\n3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"create", "scorer_1", s.plane, "--from", ragged}, exitFailure, "freshet: " + ragged + ": row 2 has 1 fields, not 2"},
		{[]string{"create", "scorer_1", s.plane}, exitUsage, "give one of --from and --from-topic"},
		{[]string{"create", "scorer_1", s.plane, "--from", csv, "--since", "2h", "--variation", "off"}, exitUsage, "--since and --until say which inferences are read, and --variation off reads none"},
		{[]string{"create", "scorer_1", s.plane, "--from", csv, "--variation", "on"}, exitUsage, `--variation "on" is none of auto, required and off`},
		{[]string{"create", "scorer_1", s.plane, "--from-topic", "--variation", "required"}, exitFailure, "--variation required: there is no topic scores yet"},
		{[]string{"create", "scorer_1", s.plane, "--from", csv, "--since", "1h", "--until", "2h"}, exitUsage, "--until 2h is not after --since 1h"},
		{[]string{"create", "scorer_1", s.plane, "--from", csv, "--since", "soon"}, exitUsage, `--since: "soon" is neither`},
		{[]string{"create", "scorer_1", s.plane, "--from", csv, "--variation", "required"}, exitFailure, "--variation required: there is no topic scores yet: create the baseline again once the model has served for 1d"},
		{[]string{"create", "scorer_3", s.plane, "--from", csv}, exitNotFound, `no baseline "scorer_3" in the definition; did you mean "scorer_`},
		{[]string{"create", "scorer_1", s.plane, "--from", empty}, exitFailure, "none.csv: it has none of the model's columns (spend_1d, orders_1d, last_country, prediction)"},
		{[]string{"create", "scorer_1", s.plane, "--from", "absent.csv"}, exitNotFound, "absent.csv"},
		{[]string{"show", "scorer_9", s.plane}, exitNotFound, `there is no baseline "scorer_9"`},
		{[]string{"show", "scorer_1"}, exitUsage, "name the definition, or set FRESHET_PLANE, or have it in plane.yaml"},
	} {
		if r := run(t, append([]string{"baseline"}, c.args...)...); r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: exit %d, stderr %q; want %d, %q", c.args, r.code, r.stderr, c.code, c.want)
		}
	}
	ok(t, "baseline", "create", "scorer_1", s.plane, "--from", csv)
	r := runEnv(t, map[string]string{"FRESHET_PLANE": s.plane}, "baseline", "show", "scorer_1", "--column", "spend")
	if r.code != exitNotFound || !strings.Contains(r.stderr, `the baseline scorer_1 has no column "spend"`) {
		t.Errorf("%+v", r)
	}
	if r := run(t, "baseline", "show", "scorer_1", s.plane, "--column", "spend_1d", "--slice", "region=moon"); r.code != exitNotFound {
		t.Errorf("%+v", r)
	}
}
