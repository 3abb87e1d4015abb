package quality

// precision is the share of positive predictions that were true.
func precision(s *Sums) estimate { return share(s.TP, s.TP+s.FP) }
