package processors

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/freshet-io/freshet/ingest"
)

func TestRecordsPutAsideAreToldOfAtOnceAndThenNowAndThen(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1_700_000_000, 0)
	l := asideLog{now: func() time.Time { return now }, logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.MessageKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		},
	}))}
	said := func(want ...string) {
		t.Helper()
		got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if strings.Join(got, "; ") != strings.Join(want, "; ") {
			t.Errorf("said %q, want %q", got, want)
		}
		out.Reset()
	}
	l.flush()
	said("")
	l.note("orders", ingest.WrongType, 2)
	l.note("orders", ingest.Malformed, 0)
	said("source=orders class=" + string(ingest.WrongType) + " records=2")
	now = now.Add(time.Second)
	l.note("orders", ingest.WrongType, 3)
	l.note("clicks", ingest.WrongType, 1) // another source is another matter
	l.flush()
	said("source=clicks class=" + string(ingest.WrongType) + " records=1")
	now = now.Add(asideEvery)
	l.flush()
	said("source=orders class=" + string(ingest.WrongType) + " records=3")
	l.flush()
	said("")
}
