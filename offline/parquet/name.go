package parquet

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-io/freshet/offline"
)

const (
	extension    = ".parquet"
	dayPrefix    = "dt="
	mergedPrefix = "merged-"
	manifestDir  = "_manifest"
	retiredDir   = "_retired"
	emptyDir     = "_empty"
	topicDir     = "_topic"
	tempDir      = "_tmp"
)

// offsetDigits are those of the largest offset: names sort as offsets do.
const offsetDigits = 19

// A day is a number of days since the Unix epoch, UTC. The first and the last that a folder can be named for hold what is
// before and after them too.
type day int32

const (
	microsADay int64 = 24 * 60 * 60 * 1_000_000
	dayLayout        = "2006-01-02"
)

var (
	firstDay = dayOfTime(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC))
	lastDay  = dayOfTime(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
)

func dayOfTime(t time.Time) day { return day(floorDiv(t.Unix(), 24*60*60)) }

// dayOf returns the day of an event time in microseconds.
func dayOf(us int64) day {
	return day(min(max(floorDiv(us, microsADay), int64(firstDay)), int64(lastDay)))
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func (d day) String() string {
	return time.Unix(int64(d)*24*60*60, 0).UTC().Format(dayLayout)
}

// overlaps reports whether the day can hold event times of [from, to), microseconds.
func (d day) overlaps(from, to int64) bool {
	return (d == lastDay || from < (int64(d)+1)*microsADay) && (d == firstDay || to > int64(d)*microsADay)
}

func parseDay(s string) (day, bool) {
	t, err := time.Parse(dayLayout, s)
	if err != nil || t.Format(dayLayout) != s {
		return 0, false
	}
	d := dayOfTime(t)
	return d, d >= firstDay && d <= lastDay
}

// folder returns the name of the day's folder.
func (d day) folder() string { return dayPrefix + d.String() }

// rangeName names a range, for a file of it or its mark.
func rangeName(r offline.Range) string {
	return fmt.Sprintf("%s-%d-%0*d-%0*d", escapeTopic(r.Topic), r.Partition, offsetDigits, r.First, offsetDigits, r.End-1)
}

// parseRangeName is the inverse of rangeName, and of nothing else.
func parseRangeName(s string) (offline.Range, bool) {
	var numbers [3]int64
	for i, limit := range [...]int64{math.MaxInt64 - 1, math.MaxInt64 - 1, math.MaxInt32} {
		cut := strings.LastIndexByte(s, '-')
		if cut < 0 {
			return offline.Range{}, false
		}
		n, err := strconv.ParseInt(s[cut+1:], 10, 64)
		if err != nil || n < 0 || n > limit {
			return offline.Range{}, false
		}
		numbers[i], s = n, s[:cut]
	}
	topic, ok := unescapeTopic(s)
	r := offline.Range{Topic: topic, Partition: int32(numbers[2]), First: numbers[1], End: numbers[0] + 1}
	return r, ok && r.First < r.End
}

// escapeTopic writes a topic so that it is one name in a folder and in a URL, that no engine takes for hidden (a leading
// dot or underscore) or for a pattern: other bytes than letters, digits, dots, underscores and dashes are a tilde and two
// hexadecimal digits.
func escapeTopic(topic string) string {
	var b strings.Builder
	for i := range len(topic) {
		c := topic[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-' && i > 0, (c == '.' || c == '_') && i > 0:
			b.WriteByte(c)
		default:
			b.WriteByte('~')
			b.WriteString(hex.EncodeToString([]byte{c}))
		}
	}
	return b.String()
}

func unescapeTopic(s string) (string, bool) {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '~' {
			b = append(b, s[i])
			continue
		}
		if i+3 > len(s) {
			return "", false
		}
		c, err := hex.DecodeString(s[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b = append(b, c[0])
		i += 2
	}
	topic := string(b)
	return topic, topic != "" && escapeTopic(topic) == s
}

// mergedName names a file that is made against the manifest of a sequence.
func mergedName(base int64, random uint64) string {
	return fmt.Sprintf("%s%0*d-%016x%s", mergedPrefix, offsetDigits, base, random, extension)
}

// parseMergedName returns the sequence of a merged file's name.
func parseMergedName(s string) (base int64, ok bool) {
	digits, random, ok := strings.Cut(strings.TrimPrefix(s, mergedPrefix), "-")
	if !ok {
		return 0, false
	}
	base, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || base < 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(random, extension), 16, 64)
	return base, err == nil && mergedName(base, n) == s
}

// A filePath is the place of a data file in its table's folder: the folder of its day, and its name.
type filePath struct {
	day    day
	rng    offline.Range // of a file of a range
	merged bool
	base   int64 // of a merged file: the sequence that it was made against
}

// parsePath reads "dt=…/name". What it does not understand is nobody's data file.
func parsePath(s string) (filePath, bool) {
	folder, name, ok := strings.Cut(s, "/")
	if !ok || !strings.HasPrefix(folder, dayPrefix) {
		return filePath{}, false
	}
	var p filePath
	if p.day, ok = parseDay(folder[len(dayPrefix):]); !ok {
		return filePath{}, false
	}
	if p.base, p.merged = parseMergedName(name); p.merged {
		return p, true
	}
	stem, ok := strings.CutSuffix(name, extension)
	if !ok {
		return filePath{}, false
	}
	p.rng, ok = parseRangeName(stem)
	return p, ok && rangePath(p.day, p.rng) == s
}

// rangePath is the path of a range's file of a day.
func rangePath(d day, r offline.Range) string {
	return d.folder() + "/" + rangeName(r) + extension
}

// manifestName names the manifest of a sequence, in its folder.
func manifestName(seq int64) string { return fmt.Sprintf("%0*d.json", offsetDigits, seq) }

func parseManifestName(s string) (seq int64, ok bool) {
	seq, err := strconv.ParseInt(strings.TrimSuffix(s, ".json"), 10, 64)
	return seq, err == nil && seq > 0 && manifestName(seq) == s
}
