package quality

// recall is the share of what was positive that was predicted so.
func recall(s *Sums) estimate { return share(s.TP, s.TP+s.FN) }
