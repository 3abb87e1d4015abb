// Package compat computes drift as other tools do, under names that say which: psi.evidently, js.nannyml, jsd.tfdv and so
// on, so that a team that moves can keep its numbers and thresholds. Formulas, binnings and rules for empty bins were
// written anew from what the tools document and return; tests hold each number to 1e-9 of theirs.
//
// The project's own distances and tests are monitors/distance and monitors/significance. These here are never part of the
// decision whether an alert is significant.
package compat
