package quality

// accuracy is the share of predictions that were true.
func accuracy(s *Sums) estimate { return share(s.Correct, s.Usable()) }
