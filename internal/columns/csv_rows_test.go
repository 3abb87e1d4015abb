package columns

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRowsComeOneByOne(t *testing.T) {
	text := "\xef\xbb\xbfa,\"b \"\"q\"\"\",c\r\n1,\"two\r\nlines, \"\"said\"\"\",\n\n,\"\",é"
	for name, r := range map[string]io.Reader{"at once": strings.NewReader(text), "by the byte": iotest.OneByteReader(strings.NewReader(text))} {
		c, err := NewCSVRows(r)
		if err != nil {
			t.Fatal(name, err)
		}
		got := [][]string{c.Names}
		for {
			row, err := c.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(name, err)
			}
			got = append(got, nil)
			for _, f := range row {
				got[len(got)-1] = append(got[len(got)-1], strings.Clone(f))
			}
		}
		want := [][]string{{"a", `b "q"`, "c"}, {"1", "two\r\nlines, \"said\"", ""}, {"", "", "é"}}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	broken := errors.New("the disk is gone")
	for text, want := range map[string]error{"": ErrNoHeader, "a,b": broken} {
		if _, err := NewCSVRows(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))); text != "" && !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := NewCSVRows(strings.NewReader("")); !errors.Is(err, ErrNoHeader) {
			t.Errorf("an empty file: %v", err)
		}
	}
}

// endless makes rows until so many bytes have been read.
type endless struct {
	left int64
	row  int
	rest string
}

func (e *endless) Read(b []byte) (n int, err error) {
	for n < len(b) && e.left > 0 {
		if e.rest == "" {
			e.row++
			e.rest = fmt.Sprintf("%d,2026-03-01T12:01:00Z,\"a note, of a row\",%d.5\n", e.row, e.row)
		}
		k := copy(b[n:], e.rest)
		n, e.rest, e.left = n+k, e.rest[k:], e.left-int64(k)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// TestALongFileIsReadInLittleMemory: what is in use stays within 16 MiB of what it was, however much has been read.
func TestALongFileIsReadInLittleMemory(t *testing.T) {
	const size = 100 << 20
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := inUse()
	c, err := NewCSVRows(io.MultiReader(strings.NewReader("id,at,note,x\n"), &endless{left: size}))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for ; ; rows++ {
		row, err := c.Next()
		if errors.Is(err, io.EOF) || err != nil && rows > 0 && strings.Contains(err.Error(), "fields") { // the last row is cut anywhere
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if rows%500_000 == 0 {
			if row[0] != fmt.Sprint(rows+1) {
				t.Fatalf("row %d is %q", rows+1, row)
			}
			if now := inUse(); now > before+16<<20 {
				t.Fatalf("after %d rows %d MiB are in use, %d MiB before", rows, now>>20, before>>20)
			}
		}
	}
	if rows < 1_500_000 {
		t.Errorf("read %d rows", rows)
	}
}
