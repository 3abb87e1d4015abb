package quality

// mae is the mean absolute error.
func mae(s *Sums) estimate {
	value, se := mean(s.Usable(), s.abs.float(), s.square.float())
	return estimate{value: value, se: se, n: s.Usable()}
}
