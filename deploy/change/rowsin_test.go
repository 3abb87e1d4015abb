package change

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
	"github.com/freshet-io/freshet/offline"
	"github.com/freshet-io/freshet/offline/train"
)

// answered are rows of a user and an event time, a null where the time is negative.
type answered struct {
	users []string
	times []int64
	next  int
}

func (a *answered) Columns() []train.SpineColumn {
	return []train.SpineColumn{{Name: "user", Type: feature.String}, {Name: offline.EventTime, Type: feature.Timestamp}}
}

func (a *answered) Next(row []feature.Value) error {
	if a.next == len(a.users) {
		return io.EOF
	}
	row[0], row[1] = feature.StringValue(a.users[a.next]), feature.TimestampValue(a.times[a.next])
	if a.times[a.next] < 0 {
		row[1] = feature.Value{}
	}
	a.next++
	return nil
}

func (a *answered) Close() error { return nil }

// readAnswer returns the name of an answer and its rows, as read twice.
func readAnswer(t *testing.T, users []string, times []int64) (id string, rows []string) {
	t.Helper()
	src := &config.Source{Name: "visits", EventTime: config.EventTime{Field: -1}, Schema: []config.Field{{Name: "user", Type: feature.String, Required: true}}}
	opened := 0
	c := &Change{opts: Options{Dir: t.TempDir(), Now: time.Now}}
	in, err := c.open(t.Context(), src, Rows{Name: "the query", Query: true, Open: func() (train.Spine, error) {
		opened++
		return &answered{users: users, times: times}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	for range 2 {
		n := int64(0)
		err := in.each(func(r *inputRow) error {
			if r.bad != nil {
				rows = append(rows, "bad "+users[r.place])
				return nil
			}
			if r.n != n || r.at != times[r.place] || !strings.Contains(string(r.text), `"`+users[r.place]+`"`) {
				t.Errorf("row %d is %+v, %s", n, r, r.text)
			}
			n++
			rows = append(rows, string(r.text))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	name, _, err := in.id()
	if err != nil || opened != 1 {
		t.Errorf("opened %d times, %v", opened, err)
	}
	return name, rows
}

// TestAnAnswerIsKnownByItsRows: in whatever order they come; one more makes another.
func TestAnAnswerIsKnownByItsRows(t *testing.T) {
	one, rows := readAnswer(t, []string{"b", "a", "x", "a"}, []int64{5, 7, -1, 5})
	two, again := readAnswer(t, []string{"a", "x", "b", "a"}, []int64{5, -1, 5, 7})
	want := `bad x|{"user":"a"}|{"user":"b"}|{"user":"a"}|`
	if got := strings.Join(rows, "|") + "|"; got != want+want {
		t.Errorf("rows %s", got)
	}
	if one != two || strings.Join(rows, "|") != strings.Join(again, "|") {
		t.Errorf("%s and %s: %v, %v", one, two, rows, again)
	}
	if other, _ := readAnswer(t, []string{"b", "a", "a", "a"}, []int64{5, 7, 5, 5}); other == one {
		t.Error("a row more, and the same name")
	}
}

// TestDigitsAreNoNumbers: what stands for decimals and days is refused with its type, not loaded as the digits that it is.
func TestDigitsAreNoNumbers(t *testing.T) {
	type row struct {
		Amount int64 `parquet:"amount,decimal(2:10)"`
	}
	path := filepath.Join(t.TempDir(), "past.parquet")
	if err := pq.WriteFile(path, []row{{1250}}); err != nil {
		t.Fatal(err)
	}
	src := &config.Source{Name: "orders", EventTime: config.EventTime{Field: 0}, Schema: []config.Field{{Name: "amount", Type: feature.Float64}}}
	c := &Change{}
	in, err := c.open(t.Context(), src, Rows{Name: path, Open: func() (train.Spine, error) { return train.OpenSpine(path, train.NoLists) }})
	if err == nil {
		err = errors.Join(in.each(func(*inputRow) error { return nil }), in.close())
	}
	if err == nil || !strings.Contains(err.Error(), `column "amount" is a DECIMAL(10,2); write it as the float64 that source orders has`) {
		t.Errorf("%v", err)
	}
}
