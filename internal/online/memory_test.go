package online

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// A reply is the array of values that was asked for, in either protocol, or it is refused for another way of asking.
func TestAppendReply(t *testing.T) {
	for _, tc := range []struct {
		reply string
		n     int
		want  string // values with |, ~ for absent ones; "no" when refused
		rest  string
	}{
		{"*2\r\n$1\r\na\r\n$3\r\nb\r\n\r\n", 2, "a|b\r\n", ""},
		{"*2\r\n$-1\r\n$2\r\nxy\r\n*1\r\n", 2, "~|xy", "*1\r\n"},
		{"*2\r\n_\r\n$0\r\n\r\n", 2, "~|~", ""},
		{"*1\r\n$1\r\na\r\n", 2, "no", ""},
		{"-WRONGTYPE Operation against a key\r\n", 1, "no", ""},
		{"-MOVED 3999 127.0.0.1:6381\r\n", 1, "no", ""},
		{"*1\r\n:1\r\n", 1, "no", ""},
		{"*1\r\n$5\r\nabc\r\n", 1, "no", ""},
		{"*1\r\n$99999999999999999999\r\n", 1, "no", ""},
		{"*1\r\n$3\r\nabc", 1, "no", ""},
		{"*1\r\n", 1, "no", ""},
		{"*", 1, "no", ""},
		{"", 1, "no", ""},
	} {
		values, rest, ok := appendReply(nil, []byte(tc.reply), tc.n)
		got := "no"
		if ok {
			parts := make([]string, len(values))
			for i, v := range values {
				if parts[i] = string(v); v == nil {
					parts[i] = "~"
				}
			}
			got = strings.Join(parts, "|")
		}
		if got != tc.want || ok && string(rest) != tc.rest {
			t.Errorf("%q is read as %q, %q left; want %q, %q", tc.reply, got, rest, tc.want, tc.rest)
		}
	}
}

// FuzzAppendReply: bytes from a server are values within those bytes, or refused.
func FuzzAppendReply(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n$-1\r\n"), uint8(2))
	f.Add([]byte("*1\r\n_\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		values, rest, ok := appendReply(nil, b, int(n))
		if !ok {
			return
		}
		size := len(rest)
		for _, v := range values {
			size += len(v)
		}
		if len(values) != int(n) || size > len(b) {
			t.Fatalf("%q is read as %q, %q left", b, values, rest)
		}
	})
}

// Memory takes the content of a reply whole, and tells what came of one that ends early.
func TestMemoryReadFrom(t *testing.T) {
	var m Memory
	for range 3 {
		m.begin(nil)
		m.Write([]byte("$5\r\n"))
		if n, err := io.CopyN(&m, strings.NewReader("hello\r\nmore"), 7); n != 7 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if n, err := io.CopyN(&m, strings.NewReader("cut"), 7); n != 3 || err != io.EOF {
			t.Fatalf("a reply cut short: %d, %v", n, err)
		}
		if n, err := m.ReadFrom(bytes.NewReader([]byte("!"))); n != 1 || err != nil {
			t.Fatalf("of no known length: %d, %v", n, err)
		}
		if got := string(m.end()); got != "$5\r\nhello\r\ncut!" {
			t.Fatalf("%q", got)
		}
		m.Forget()
	}
}

// What one fetch read does not change while the next pipelines of the same fetch are read, and memory serves again.
func fetchUsesMemoryAgain(t *testing.T, c *Client, project string) {
	var mem Memory
	for round := range 3 {
		e := newEntity(t, c, project, fmt.Sprint("memory", round))
		head, tail := headBlob(version(1), version(1), strings.Repeat("h", 100+round)), tailBlob(version(1), strings.Repeat("t", 5000))
		if got := e.write(head, tail, 0); got != Accepted {
			t.Fatal(got)
		}
		reqs := make([]FetchRequest, 2*fetchEntities+3)
		got := make([][][]byte, len(reqs))
		for i := range reqs {
			reqs[i] = FetchRequest{Key: e.key, Fields: []string{e.head, e.tail, "none"}}
			if i%5 == 4 {
				reqs[i].Key = "{absent}"
			}
			if i == 7 {
				reqs[i].Fields = nil
			}
		}
		if err := c.FetchInto(t.Context(), reqs, got, &mem); err != nil {
			t.Fatal(err)
		}
		for i, values := range got {
			switch {
			case i == 7 && len(values) != 0:
				t.Fatalf("no fields give %q", values)
			case i == 7:
			case len(values) != 3 || values[2] != nil:
				t.Fatalf("entity %d has %d values, the last %q", i, len(values), values[len(values)-1])
			case i%5 == 4 && (values[0] != nil || values[1] != nil):
				t.Fatalf("absent entity %d has values", i)
			case i%5 != 4 && (!bytes.Equal(values[0], head) || !bytes.Equal(values[1], tail)):
				t.Fatalf("entity %d: other bytes than were written", i)
			}
		}
		mem.Forget()
	}
}
