// Package config is a plane's definition: entities, sources, feature views, feature services, models, monitors and
// channels, and the connections that differ by environment.
//
// Load reads YAML strictly, collects every mistake with its place, and resolves names, expressions and layouts into an
// immutable Plane. What lives here knows what a definition means and refuses; nothing here connects to anything or
// processes an event.
//
//	spec.go      the form of the files: every section and field, its description and rules
//	decode.go    YAML into that form, with places
//	resolve*.go  the form into a Plane
//	plane.go     the Plane
package config
