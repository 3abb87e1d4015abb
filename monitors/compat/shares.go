package compat

import "math"

// The functions of this file take counts by bin; each side is divided by its own total, which is above 0.

func total(counts []float64) float64 {
	var sum float64
	for _, c := range counts {
		sum += c
	}
	return sum
}

func shares(counts []float64) []float64 {
	n := total(counts)
	out := make([]float64, len(counts))
	for i, c := range counts {
		out[i] = c / n
	}
	return out
}

// psiOf is Σ (p-q) ln(p/q).
func psiOf(p, q []float64) float64 {
	var sum float64
	for i := range p {
		if p[i] != q[i] {
			sum += (p[i] - q[i]) * math.Log(p[i]/q[i])
		}
	}
	return sum
}

// filled puts 0.0001 into empty bins, or a millionth of the smallest share if one is as small as that, as Evidently does
// for each side by itself. The shares then add up to more than 1.
func filled(counts []float64) []float64 {
	p := shares(counts)
	least := 1.0
	for _, x := range p {
		if x > 0 {
			least = min(least, x)
		}
	}
	fill := 1e-4
	if least <= fill {
		fill = least / 1e6
	}
	for i := range p {
		if p[i] == 0 {
			p[i] = fill
		}
	}
	return p
}

func psiEvidently(ref, cur []float64) float64 { return psiOf(filled(ref), filled(cur)) }

// psiDeepchecks raises shares to 0.01 at least.
func psiDeepchecks(ref, cur []float64) float64 {
	p, q := shares(ref), shares(cur)
	for i := range p {
		p[i], q[i] = max(p[i], 0.01), max(q[i], 0.01)
	}
	return psiOf(p, q)
}

// psiFiddler adds one value to each bin of either side.
func psiFiddler(ref, cur []float64) float64 {
	one := func(counts []float64) []float64 {
		out := make([]float64, len(counts))
		for i, c := range counts {
			out[i] = c + 1
		}
		return shares(out)
	}
	return psiOf(one(ref), one(cur))
}

// klEvidently is Σ p ln(p/q) of the filled shares, scaled to 1 again.
func klEvidently(ref, cur []float64) float64 {
	p, q := shares(filled(ref)), shares(filled(cur))
	var sum float64
	for i := range p {
		sum += p[i] * math.Log(p[i]/q[i])
	}
	return sum
}

// divergence is the Jensen-Shannon divergence in nats.
func divergence(ref, cur []float64) float64 {
	p, q := shares(ref), shares(cur)
	var sum float64
	for i := range p {
		m := (p[i] + q[i]) / 2
		if p[i] > 0 {
			sum += p[i] * math.Log(p[i]/m)
		}
		if q[i] > 0 {
			sum += q[i] * math.Log(q[i]/m)
		}
	}
	return max(0, sum/2)
}

func jsEvidently(ref, cur []float64) float64 { return math.Sqrt(divergence(ref, cur)) }

func jsNanny(ref, cur []float64) float64 { return math.Sqrt(divergence(ref, cur) / math.Ln2) }

func jsdTFDV(ref, cur []float64) float64 { return min(1, divergence(ref, cur)/math.Ln2) }

// hellingerEvidently is the root of 1 less the Bhattacharyya coefficient.
func hellingerEvidently(ref, cur []float64) float64 {
	p, q := shares(ref), shares(cur)
	var sum float64
	for i := range p {
		sum += math.Sqrt(p[i] * q[i])
	}
	return math.Sqrt(max(0, 1-sum))
}

func hellingerNanny(ref, cur []float64) float64 {
	p, q := shares(ref), shares(cur)
	var sum float64
	for i := range p {
		d := math.Sqrt(p[i]) - math.Sqrt(q[i])
		sum += d * d
	}
	return math.Sqrt(sum) / math.Sqrt2
}

func lInfinity(ref, cur []float64) float64 {
	p, q := shares(ref), shares(cur)
	var most float64
	for i := range p {
		most = max(most, math.Abs(p[i]-q[i]))
	}
	return most
}
