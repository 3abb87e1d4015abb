// Package spell finds the name that someone most likely meant. Error messages use it; nothing else belongs here.
package spell

import "strings"

// Nearest returns the candidate closest to name by edit distance (an exchange of neighbours counts once, letter case
// hardly, an abbreviation is near), and false when none is close enough to be worth suggesting. Of equally close ones the first wins.
func Nearest(name string, candidates []string) (string, bool) {
	best, bestCost := "", -1
	for _, c := range candidates {
		longer := max(len(name), len(c))
		limit := min(max(longer/3, 1), longer-1)
		d := distance(strings.ToLower(name), strings.ToLower(c), limit)
		if len(name) >= 3 && (strings.HasPrefix(c, name) || strings.HasSuffix(c, "_"+name)) {
			d = min(d, limit) // an abbreviation, or the last word of several
		}
		if d > limit {
			continue
		}
		cost := 2 * d
		if d == 0 && c != name {
			cost = 1
		}
		if bestCost < 0 || cost < bestCost {
			best, bestCost = c, cost
		}
	}
	return best, bestCost >= 0
}

// Suggest returns `; did you mean "x"?` for the nearest candidate, or nothing.
func Suggest(name string, candidates []string) string {
	if c, ok := Nearest(name, candidates); ok {
		return `; did you mean "` + c + `"?`
	}
	return ""
}

// maxLength bounds the work: names longer than this are only compared for equality.
const maxLength = 128

// distance is the optimal string alignment distance of a and b, or anything above limit once it exceeds limit.
func distance(a, b string, limit int) int {
	if a == b {
		return 0
	}
	if len(a) > maxLength || len(b) > maxLength || max(len(a), len(b))-min(len(a), len(b)) > limit {
		return limit + 1
	}
	var rows [3][maxLength + 1]int
	before, prev, cur := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			cur[j] = d
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
