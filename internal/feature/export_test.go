package feature

import "math"

// PageAlways gives closed tiles pages of about so many bytes however few they are; it is called before l is used.
func PageAlways(l *Layout, bytes int) {
	l.placePages(bytes, mostPages, 0)
	for k := range l.hops {
		l.hops[k].pages.least = 1
	}
}

// PageNever leaves closed tiles as they are however many they are.
func PageNever(l *Layout) {
	for k := range l.hops {
		l.hops[k].pages.least = math.MaxInt
	}
}
