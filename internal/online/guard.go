package online

import (
	"bytes"
	_ "embed" // the guard's script
	"encoding/binary"
	"errors"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

//go:embed guard.lua
var guardScript string

// Where versions stand in blobs: a head begins with a format byte, its version, its tail's version and which pages that
// has, a tail with a format byte and its version, in every format. guard.lua counts from one.
const (
	versionSize = len(feature.Version{})
	versionAt   = 1
	tailAt      = versionAt + versionSize
	pagesAt     = tailAt + versionSize // which hops have pages, two bytes
	placesAt    = pagesAt + 2          // the place behind the last page, two bytes
	headPrefix  = placesAt + 2
)

func versionOf(blob []byte) []byte      { return blob[versionAt : versionAt+versionSize] }
func tailVersionOf(head []byte) []byte  { return head[tailAt : tailAt+versionSize] }
func isZeroVersion(version []byte) bool { return feature.Version(version) == feature.Version{} }
func knownHead(stored []byte) (ok bool) { return len(stored) >= headPrefix }
func sameTail(stored, head []byte) bool {
	return bytes.Equal(tailVersionOf(stored), tailVersionOf(head))
}

func samePages(stored, head []byte) bool {
	return bytes.Equal(stored[pagesAt:headPrefix], head[pagesAt:headPrefix])
}
func placesOf(head []byte) int { return int(binary.LittleEndian.Uint16(head[placesAt:])) }

func olderVersion(head, old []byte) bool { return bytes.Compare(versionOf(head), versionOf(old)) < 0 }

// verdict is what the guard decides about one write.
type verdict struct {
	outcome   Outcome
	dropTail  bool // accepted, and a stored tail is deleted
	dropPages int  // accepted, and before it the pages below this place are deleted
}

// judge applies rules G1, G3 and G4 as guard.lua does. stored is the stored head, nil if there is none.
func judge(stored []byte, w *Write) verdict {
	known := knownHead(stored)
	if known && olderVersion(w.Head, stored) {
		return verdict{outcome: Refused}
	}
	if w.Tail == nil && known && sameTail(stored, w.Head) {
		return verdict{outcome: Accepted}
	}
	if w.Tail == nil && !isZeroVersion(tailVersionOf(w.Head)) {
		return verdict{outcome: NeedTail}
	}
	v := verdict{outcome: Accepted, dropTail: w.Tail == nil}
	if known && !samePages(stored, w.Head) {
		v.dropPages = placesOf(stored)
	}
	return v
}

// raise says whether rule G5 sets the expiry: left is the time the hash had left before the write, negative for none.
// An existing hash without an expiry keeps none.
func raise(existed bool, left, expire time.Duration) bool {
	if !existed {
		return true
	}
	return left >= 0 && left < expire-left
}

var (
	errNoVersion = errors.New("a head without versions")
	errTailMatch = errors.New("a tail that is not the one its head names")
)

// check refuses what would break the invariant of the package comment.
func (w *Write) check() error {
	if len(w.Head) < headPrefix {
		return errNoVersion
	}
	if w.Tail == nil {
		return nil
	}
	first, pages, ok := feature.TailParts(w.Tail)
	if !ok || !bytes.Equal(versionOf(first), tailVersionOf(w.Head)) || isZeroVersion(versionOf(first)) {
		return errTailMatch
	}
	n := 0
	for ; len(pages) > 0; n++ {
		place, _, rest, ok := feature.NextPage(pages)
		if !ok || place >= placesOf(w.Head) {
			return errTailMatch
		}
		pages = rest
	}
	if (n == 0) != (placesOf(w.Head) == 0) {
		return errTailMatch
	}
	return nil
}

// millis is an expiry as Redis takes it, rounded up.
func millis(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond != 0 {
		ms++
	}
	return ms
}
