// Package telemetry is how a process tells what it does: its log, its metrics registry, its traces, and the admin
// server that shows metrics, health and profiles. What is measured is registered by whoever measures it.
package telemetry
