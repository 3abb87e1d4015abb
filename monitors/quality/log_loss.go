package quality

// logLoss is the mean of -log of the probability that was given to what turned out to be true.
func logLoss(s *Sums) estimate {
	value, se := mean(s.Usable(), s.loss.float(), s.lossSquare.float())
	return estimate{value: value, se: se, n: s.Usable()}
}
