package quality

import (
	"hash/fnv"
	"math"
	"strconv"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/feature"
)

// Definition says how a prediction and its label are compared.
type Definition struct {
	Prediction string  // a number, a class or a probability: config.Number and so on
	Positive   string  // the label that is the positive class, where labels are text
	Cutoff     float64 // from which probability on the positive class is predicted
}

// Define takes the definition of a model that has labels.
func Define(m *config.Model) Definition {
	return Definition{Prediction: m.Predicts, Positive: m.Labels.Positive, Cutoff: m.Labels.Cutoff}
}

// Build tells definitions apart: sums of different ones are not added up.
func (d Definition) Build() int64 {
	h := fnv.New64a()
	for _, part := range []string{d.Prediction, d.Positive, strconv.FormatFloat(d.Cutoff, 'g', -1, 64)} {
		h.Write([]byte(strconv.Quote(part)))
	}
	return int64(h.Sum64())
}

// Count adds a labelled case to the sums, or with sign -1 takes one out that was added. The inference itself is counted
// by the caller.
func (d Definition) Count(s *Sums, prediction, label *feature.Value, sign int64) {
	s.Labelled += sign
	usable := false
	switch d.Prediction {
	case config.Number:
		usable = s.number(prediction, label, sign)
	case config.Probability:
		usable = d.probability(s, prediction, label, sign)
	case config.ClassName:
		usable = d.class(s, prediction, label, sign)
	}
	if !usable {
		s.Unusable += sign
	}
}

func (s *Sums) number(prediction, label *feature.Value, sign int64) bool {
	p, ok := number(prediction)
	y, also := number(label)
	e := math.Abs(p - y)
	square := e * e
	fourth := square * square
	if !ok || !also || math.IsInf(fourth, 1) || math.IsNaN(fourth) {
		return false
	}
	s.abs.add(e, sign)
	s.square.add(square, sign)
	s.fourth.add(fourth, sign)
	return true
}

func number(v *feature.Value) (float64, bool) {
	switch v.Type() {
	case feature.Float64:
		return v.Float64(), true
	case feature.Int64:
		return float64(v.Int64()), true
	}
	return 0, false
}

// clip keeps a log loss finite, as scikit-learn does: probabilities are at least this far from 0 and 1.
const clip = 0x1p-52

func (d Definition) probability(s *Sums, prediction, label *feature.Value, sign int64) bool {
	p, ok := number(prediction)
	truth, also := d.isPositive(label)
	if !ok || !also || !(p >= 0 && p <= 1) {
		return false
	}
	bins, likely := &s.negative, 1-p
	c := &s.calibration[min(int(p*calibrationBins), calibrationBins-1)]
	if truth {
		bins, likely = &s.positive, p
		c.positive += sign
	}
	c.n += sign
	c.sum += sign * int64(math.RoundToEven(p*fixedOne))
	if *bins == nil {
		*bins = map[uint16]int64{}
	}
	addBin(*bins, uint16(min(int(p*scoreBins), scoreBins-1)), sign)
	loss := -math.Log(min(max(likely, clip), 1-clip))
	s.loss.add(loss, sign)
	s.lossSquare.add(loss*loss, sign)
	s.confuse(p >= d.Cutoff, truth, sign)
	return true
}

// isPositive reports whether a label is the positive class; ok is false for one that is no class.
func (d Definition) isPositive(label *feature.Value) (positive, ok bool) {
	switch label.Type() {
	case feature.Bool:
		return label.Bool(), true
	case feature.String:
		return label.Str() == d.Positive, true
	}
	y, isNumber := number(label)
	return y == 1, isNumber && (y == 0 || y == 1)
}

func (d Definition) class(s *Sums, prediction, label *feature.Value, sign int64) bool {
	if prediction.Type() != feature.String || label.Type() != feature.String {
		return false
	}
	p, y := prediction.Str(), label.Str()
	if d.Positive != "" {
		s.confuse(p == d.Positive, y == d.Positive, sign)
		s.Correct -= sign * equal((p == d.Positive) == (y == d.Positive)) // with more than two classes both may be wrong ones
	}
	s.Correct += sign * equal(p == y)
	return true
}

func equal(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (s *Sums) confuse(predicted, truth bool, sign int64) {
	switch {
	case predicted && truth:
		s.TP += sign
	case predicted:
		s.FP += sign
	case truth:
		s.FN += sign
	default:
		s.TN += sign
	}
	s.Correct += sign * equal(predicted == truth)
}
