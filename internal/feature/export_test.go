package feature

import "math"

// PageAlways gives closed tiles pages of about so many bytes however few they are; it is called before l is used.
func PageAlways(l *Layout, bytes int) {
	l.placePages(bytes, mostPages, 0)
	for k := range l.hops {
		l.hops[k].pages.least = 1
	}
}

// HeadTiles calls fn for each tile in a head cell's value, with the cell and the value that it would have of its own.
func HeadTiles(value []byte, fn func(c Cell, own []byte)) error {
	return headTiles(value[1:], func(hop uint32, tile []byte) error {
		fn(Cell{Hop: hop, Start: FloorTo(timeAt(tile), int64(hop)*Second)}, append([]byte{cellValueFormat}, tile...))
		return nil
	})
}

// PageNever leaves closed tiles as they are however many they are.
func PageNever(l *Layout) {
	for k := range l.hops {
		l.hops[k].pages.least = math.MaxInt
	}
}
