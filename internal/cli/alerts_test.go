package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/kafka"
	"github.com/freshet-io/freshet/monitors/alert"
	"github.com/freshet-io/freshet/monitors/notify/deliver"
	"github.com/freshet-io/freshet/monitors/topics"
)

// pager is a shop whose monitor sends to a webhook.
type pager struct {
	*shop
	t      *testing.T
	loaded *config.Plane
	client *kgo.Client
	status atomic.Int32 // of the webhook's answers
	taken  atomic.Int32
}

func newPager(t *testing.T) *pager {
	t.Helper()
	p := &pager{shop: newShop(t), t: t}
	p.status.Store(http.StatusNoContent)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		code := int(p.status.Load())
		if code/100 == 2 {
			p.taken.Add(1)
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(hook.Close)
	text, err := os.ReadFile(p.plane)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(p.plane)
	text = []byte(strings.Replace(string(text), "for: 2}", "for: 2, channels: [hook]}", 1))
	text = fmt.Appendf(text, "channels:\n  - {name: hook, webhook: {url: %q, secret: \"file:secret\", allow: [\"127.0.0.0/8\"]}}\n", hook.URL)
	if err := os.WriteFile(p.plane, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("whsec_ZnJlc2hldC10ZXN0LXNlY3JldC0wMTIzNDU2Nzg5"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p.loaded, err = config.Load(p.plane); err != nil {
		t.Fatal(err)
	}
	if p.client, err = kgo.NewClient(kgo.SeedBrokers(p.seeds...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.client.Close)
	return p
}

func (p *pager) createTopics() {
	p.t.Helper()
	err := kafka.EnsureTopics(p.t.Context(), kadm.NewClient(p.client), config.Kafka{ReplicationFactor: 1, MinInsyncReplicas: 1}, topics.Specs(p.loaded))
	if err != nil {
		p.t.Fatal(err)
	}
}

var startOfEpisodes = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// tell writes a message of an episode to the history, some minutes after the episode began.
func (p *pager) tell(episode string, kind alert.Type, minutes int, columns ...string) {
	p.t.Helper()
	status := "firing"
	if kind == alert.ResolvedType || kind == alert.UnheardType {
		status = "resolved"
	}
	at := startOfEpisodes.Add(time.Duration(minutes) * time.Minute).UnixMicro()
	m := alert.Message{ID: fmt.Sprintf("%s-%d", episode, minutes), Type: kind, Origin: "/freshet/shop", At: at, Data: alert.Data{
		Episode: episode, Status: status, Monitor: "inputs", Model: "scorer", Class: alert.Values, Group: "orders", Summary: "inputs: skew of " + strings.Join(columns, ", "),
		StartedAt: alert.Stamp(startOfEpisodes.UnixMicro()), Count: len(columns), Features: []alert.Feature{},
	}}
	if status == "resolved" {
		m.ResolvedAt = alert.Stamp(at)
	}
	if kind == alert.MutedType {
		m.MutedBy = "silence sil_1"
	}
	for _, c := range columns {
		s := alert.Series{Kind: alert.Skew, Column: c}
		m.Features = append(m.Features, alert.Feature{Series: s, Since: m.StartedAt, Effect: .42, Threshold: .1})
		m.Evidence = append(m.Evidence, alert.Evidence{
			Series: s, Method: "jensen_shannon", Score: .43, Effect: .42, Threshold: .1, P: 1e-9, Current: alert.Sample{N: 5210, NEff: 1274.5},
			Reference: alert.Sample{N: 90000, NEff: 90000}, Movers: []alert.Mover{{Bin: "[100, 200)", Reference: .112, Current: .5}},
			Window: alert.Window{Start: int64(m.StartedAt), End: int64(m.StartedAt) + 3_600_000_000}, Against: "baseline scorer_1", Query: "freshet monitor report inputs --column " + c,
		})
	}
	text, err := m.Event()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.client.ProduceSync(p.t.Context(), &kgo.Record{Topic: topics.Name(p.loaded, topics.Alerts), Value: text}).FirstErr(); err != nil {
		p.t.Fatal(err)
	}
}

func TestAlertsListFoldsTheHistory(t *testing.T) {
	p := newPager(t)
	expect(t, ok(t, "alerts", "list", p.plane).stdout, "Nothing is firing.") // nor are there topics yet
	p.createTopics()
	p.tell("ep_a1", alert.FiringType, 10, "spend_1d", "orders_1d")
	p.tell("ep_b1", alert.MutedType, 11, "last_country")
	p.tell("ep_c1", alert.FiringType, 12, "spend_1d")
	p.tell("ep_a1", alert.UpdatedType, 13, "last_country", "prediction")
	p.tell("ep_c1", alert.ResolvedType, 14, "spend_1d")
	if err := p.client.ProduceSync(t.Context(), &kgo.Record{Topic: topics.Name(p.loaded, topics.Alerts), Value: []byte("garbage")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	r := ok(t, "alerts", "list", p.plane)
	golden(t, "alerts_list.golden", r.stdout)
	expect(t, r.stderr, "the record at offset 5 of shop.monitor.alerts is no message")
	golden(t, "alerts_list_all.golden", ok(t, "alerts", "list", p.plane, "--all").stdout)
	expect(t, ok(t, "alerts", "list", p.plane, "--all", "--since", "1h").stdout, "No such alerts.")
	var rows []episodeRow
	if err := json.Unmarshal([]byte(ok(t, "alerts", "list", p.plane, "--all", "--since", "2026-03-01T12:13:00Z", "--output", "json").stdout), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Status != "firing" || rows[1].Status != "resolved" || len(rows[0].Features) != 4 {
		t.Errorf("%+v", rows)
	}
	// A muted episode that is told after all, and one that is over before.
	p.tell("ep_b1", alert.FiringType, 20, "last_country")
	p.tell("ep_d1", alert.MutedType, 21, "spend_1d")
	p.tell("ep_d1", alert.UnheardType, 22, "spend_1d")
	if out := ok(t, "alerts", "list", p.plane).stdout; strings.Contains(out, "sil_1") || strings.Contains(out, "ep_d1") || !strings.Contains(out, "ep_b1") {
		t.Errorf("%s", out)
	}
}

// However much fires, a line of a table has the first few names.
func TestNamesOfMany(t *testing.T) {
	for want, got := range map[string]string{
		"": firstOf(nil, 0), "a, b, c": firstOf([]string{"a", "b", "c"}, 0), "a, b, c and 2 more": firstOf([]string{"a", "b", "c", "d", "e"}, 0), "a and 7 more": firstOf([]string{"a"}, 7),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAlertsShowPrintsTheEvidence(t *testing.T) {
	p := newPager(t)
	p.createTopics()
	p.tell("ep_a1", alert.FiringType, 10, "spend_1d", "orders_1d")
	p.tell("ep_a1", alert.ResolvedType, 70, "spend_1d")
	p.tell("ep_a2", alert.FiringType, 80, "spend_1d")
	golden(t, "alerts_show.golden", ok(t, "alerts", "show", "ep_a1", p.plane).stdout)
	expect(t, ok(t, "alerts", "show", "ep_a2", p.plane, "--output", "json").stdout, `"id": "ep_a2-80"`, `"specversion": "1.0"`)
	if r := run(t, "alerts", "show", "ep_a", p.plane); r.code != exitUsage || !strings.Contains(r.stderr, "several episodes begin with ep_a") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	if r := run(t, "alerts", "show", "ep_x", p.plane); r.code != exitNotFound || !strings.Contains(r.stderr, `no episode "ep_x"`) {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
}

func TestSilencesAreWrittenListedAndEnded(t *testing.T) {
	p := newPager(t)
	silence := func(args ...string) result {
		return runEnv(t, map[string]string{"USER": "ann"}, append([]string{"alerts", "silence", p.plane}, args...)...)
	}
	if r := silence("monitor=inputs", "--for", "2h", "--comment", "x"); r.code != exitFailure || !strings.Contains(r.stderr, "shop.monitor.silences") || !strings.Contains(r.stderr, "role monitor") {
		t.Errorf("without topics: exit %d: %s", r.code, r.stderr)
	}
	p.createTopics()
	expect(t, ok(t, "alerts", "silences", p.plane).stdout, "No silences.")
	r := silence("monitor=inputs", "column=~spend.*", "--for", "2h", "--comment", "a replay")
	if r.code != exitOK || r.stderr != "" {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	id := strings.TrimSpace(r.stdout)
	expect(t, ok(t, "alerts", "silences", p.plane).stdout, id, "monitor=inputs column=~spend.*", "ann", "a replay")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--for", "2h", "--comment", "x"}, "name what is to be silenced"},
		{[]string{"colour=red", "--for", "2h", "--comment", "x"}, `no field "colour"`},
		{[]string{"column=~(", "--for", "2h", "--comment", "x"}, "missing closing"},
		{[]string{"column=x", "--for", "soon", "--comment", "x"}, "--for"},
		{[]string{"column=x", "--for", "-2h", "--comment", "x"}, "--for"},
		{[]string{"column=x", "--for", "0s", "--comment", "x"}, "--for"},
		{[]string{"column=x", "--for", "2h", "--comment", " "}, "comment"},
		{[]string{"column=x", "--for", "2h"}, "comment"},
	} {
		if r := silence(c.args...); r.code != exitUsage || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("%q: exit %d: %s%s, want %q", c.args, r.code, r.stdout, r.stderr, c.want)
		}
	}
	if r := run(t, "alerts", "silence", p.plane, "column=x", "--for", "2h", "--comment", "x"); r.code != exitUsage || !strings.Contains(r.stderr, "--author") {
		t.Errorf("without an author: exit %d: %s", r.code, r.stderr)
	}
	expect(t, silence("monitor=input", "kind=drfit", "--for", "1s", "--comment", "x").stderr, `the silence mutes nothing: there is no monitor "input"; did you mean "inputs"?`, `there is no kind "drfit"`)
	expect(t, ok(t, "alerts", "unsilence", id, p.plane).stdout, "is over")
	if out := ok(t, "alerts", "silences", p.plane).stdout; strings.Contains(out, id) {
		t.Errorf("the silence is not over:\n%s", out)
	}
	expect(t, ok(t, "alerts", "silences", p.plane, "--all").stdout, id)
	if r := run(t, "alerts", "unsilence", id, p.plane); r.code != exitFailure || !strings.Contains(r.stderr, "has been over since") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	if r := run(t, "alerts", "unsilence", "sil_none", p.plane); r.code != exitNotFound {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
}

func TestChannelTestSendsBoth(t *testing.T) {
	p := newPager(t)
	expect(t, ok(t, "channel", "test", "hook", p.plane).stdout, "channel hook (webhook) took a firing and a resolved message")
	if got := p.taken.Load(); got != 2 {
		t.Errorf("the receiver took %d", got)
	}
	p.status.Store(http.StatusForbidden)
	if r := run(t, "channel", "test", "hook", p.plane); r.code != exitUnreachable || !strings.Contains(r.stderr, "403") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	if r := run(t, "channel", "test", "hok", p.plane); r.code != exitNotFound || !strings.Contains(r.stderr, `did you mean "hook"`) {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(p.plane), "secret")); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "channel", "test", "hook", p.plane); r.code != exitFailure || !strings.Contains(r.stderr, "webhook.secret is empty") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
}

// What was given up is shown, and delivered again while the runner lives.
func TestChannelListReplayAndEnable(t *testing.T) {
	p := newPager(t)
	expect(t, ok(t, "channel", "list", p.plane).stdout, "hook", "webhook", "ok")
	p.createTopics()
	p.status.Store(http.StatusGone)
	r, err := deliver.New(deliver.Options{
		Plane: p.loaded, Client: []kgo.Opt{kgo.SeedBrokers(p.seeds...)}, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	p.tell("ep_a1", alert.FiringType, 10, "spend_1d")
	until(t, func() bool { return strings.Contains(ok(t, "channel", "list", p.plane).stdout, "given up") })
	expect(t, ok(t, "channel", "list", p.plane).stdout, "disabled", "ep_a1-10", "410")
	expect(t, ok(t, "channel", "list", p.plane, "--output", "json").stdout, `"dead": 1`, `"state": "disabled"`)
	p.status.Store(http.StatusNoContent)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"hook"}, exitUsage, "--message ID, or --all"},
		{[]string{"hook", "--all", "--message", "x"}, exitUsage, "--message ID, or --all"},
		{[]string{"hook", "--all"}, exitFailure, "disabled"},
		{[]string{"hook", "--message", "ep_x"}, exitFailure, `no message "ep_x"`},
		{[]string{"none", "--all"}, exitNotFound, `no channel "none"`},
	} {
		if r := run(t, append([]string{"channel", "replay", c.args[0], p.plane}, c.args[1:]...)...); r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("replay %q: exit %d: %s, want %q", c.args, r.code, r.stderr, c.want)
		}
	}
	expect(t, ok(t, "channel", "enable", "hook", p.plane).stdout, "channel hook is enabled")
	expect(t, ok(t, "channel", "replay", "hook", p.plane, "--all").stdout, "1 message will be delivered again")
	until(t, func() bool { return p.taken.Load() == 1 })
	until(t, func() bool { return !strings.Contains(ok(t, "channel", "list", p.plane).stdout, "ep_a1") })
	expect(t, ok(t, "channel", "replay", "hook", p.plane, "--all").stdout, "Nothing was given up.")
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to that")
		}
	}
}
