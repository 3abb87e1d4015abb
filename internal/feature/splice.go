package feature

// splice replaces b[i:j] by e and returns the result, in b's memory when it has the room. e is not part of b.
func splice(b []byte, i, j int, e []byte) []byte {
	n := len(b)
	switch grow := len(e) - (j - i); {
	case grow > 0:
		b = append(b, e[:grow]...) // any bytes: room
		copy(b[i+len(e):], b[j:n])
	case grow < 0:
		copy(b[i+len(e):], b[j:])
		b = b[:n+grow]
	}
	copy(b[i:], e)
	return b
}
