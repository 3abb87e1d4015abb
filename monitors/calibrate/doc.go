// Package calibrate is the experiment that shows whether the monitors' statistics keep their word: how often they are
// wrong on streams that do not change, independent and dependent ones, and what shifts they see, beside the exact
// Kolmogorov-Smirnov test, the chi-square test of a contingency table and the fixed thresholds of other tools.
//
// It draws its own data, deterministically from a seed, and writes a summary in Markdown. It knows distances and tests,
// and neither alerts nor clocks.
package calibrate
