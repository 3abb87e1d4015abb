package cli

import (
	"strings"
	"testing"
)

func TestTableAlignsWhateverTheWidthOfItsCells(t *testing.T) {
	tb := newTable(left("NAME"), right("N"), left("NOTE"))
	tb.add("a", "1", "x")
	tb.add("北京", "1,234", "")
	tb.add("e\u0301te\u0301", "22", "combining")
	tb.add("👩‍👩‍👧", "3")
	var b strings.Builder
	if err := tb.print(&b); err != nil {
		t.Fatal(err)
	}
	want := "NAME      N  NOTE\n" +
		"a         1  x\n" +
		"北京  1,234\n" +
		"e\u0301te\u0301      22  combining\n" +
		"👩‍👩‍👧        3\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestTableCellsCannotSpeakToTheTerminal(t *testing.T) {
	tb := newTable(left("V"))
	tb.add("a\x1b[31mb\nc\u202ed\u009b")
	var b strings.Builder
	if err := tb.print(&b); err != nil {
		t.Fatal(err)
	}
	if want := "V\na\ufffd[31mb c\ufffdd\ufffd\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 336776: "336,776", -1234567: "-1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int]string{12: "12 B", 65536: "64.0 KiB", 3 << 20: "3.0 MiB"} {
		if got := byteSize(n); got != want {
			t.Errorf("byteSize(%d) = %s, want %s", n, got, want)
		}
	}
	for v, want := range map[string]string{"1.5": "1.5", "12.3456": "12.35", "-0.001": "0", "null": "-", `"JFK"`: "JFK", "[1,2.25]": "1 2.25", `["a","b"]`: "a b", "[]": ""} {
		if got := rounded([]byte(v)); got != want {
			t.Errorf("rounded(%s) = %q, want %q", v, got, want)
		}
	}
}
