package online

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/freshet-io/freshet/config"
)

// AppendKey appends the name of an entity's hash to dst: "{project:entity:key}", in each part every byte but ASCII
// letters and digits percent-encoded in upper-case hex. The braces are a cluster's hash tag: they can stand nowhere
// else in the name.
func AppendKey(dst []byte, project, entity string, entityKey []byte) []byte {
	dst = append(dst, '{')
	dst = appendEscaped(dst, project)
	dst = append(dst, ':')
	dst = appendEscaped(dst, entity)
	dst = append(dst, ':')
	dst = appendEscaped(dst, entityKey)
	return append(dst, '}')
}

func appendEscaped[T string | []byte](dst []byte, s T) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// Fields returns the names of a view's two fields, "<view>@<fingerprint>:h" and ":t"; for those of the tail's pages see
// PageField. The part after the name has a
// fixed length, so that no two views share a field whatever their names.
func Fields(view string, fp config.Fingerprint) (head, tail string) {
	base := view + "@" + hex.EncodeToString(fp[:])
	return base + ":h", base + ":t"
}

// PageField returns the name of the field of a tail's page: the tail's and the page's place.
func PageField(tail string, place int) string { return tail + strconv.Itoa(place) }

// AllFields returns the names of all fields of a view that has so many places for pages, for Reader.ReadFields of
// package feature: who reads few entities need not choose pages by the clock.
func AllFields(view string, fp config.Fingerprint, places int) []string {
	head, tail := Fields(view, fp)
	fields := []string{head, tail}
	for place := range places {
		fields = append(fields, PageField(tail, place))
	}
	return fields
}

// slots is the number of hash slots of a Redis cluster.
const slots = 16384

// slotOf is the cluster's slot of a key: CRC-16/XMODEM of its hash tag, or of the whole key if it has none.
func slotOf[T string | []byte](key T) int {
	from, to := 0, len(key)
	if open := indexByte(key, '{', 0); open >= 0 {
		if end := indexByte(key, '}', open+1); end > open+1 {
			from, to = open+1, end
		}
	}
	// A nibble at a time: the table fits in two cache lines.
	table := [16]uint16{
		0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
		0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
	}
	var crc uint16
	for i := from; i < to; i++ {
		c := key[i]
		crc = crc<<4 ^ table[byte(crc>>12)^c>>4]
		crc = crc<<4 ^ table[byte(crc>>12)^c&15]
	}
	return int(crc % slots)
}

func indexByte[T string | []byte](s T, c byte, from int) int {
	for i := from; i < len(s); i++ {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// canaryKey names the canary called name in the slot of tag.
func canaryKey(tag, name string) []byte {
	var b strings.Builder
	b.WriteString("freshet:canary:{")
	b.WriteString(tag)
	b.WriteString("}:")
	return appendEscaped([]byte(b.String()), name)
}
