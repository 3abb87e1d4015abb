package node

import (
	"fmt"
	"strings"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/internal/spell"
)

// Roles is a set of what a process does.
type Roles uint8

// The roles.
const (
	Ingest Roles = 1 << iota
	Process
	Serve
	Offline
	Monitor

	AllRoles = Ingest | Process | Serve | Offline | Monitor
)

var roleNames = []string{"ingest", "process", "serve", "offline", "monitor"} // in the order of the bits

// DefaultRoles are those that a plane has use for: all, without Offline where no offline store is named, and without
// Monitor where no monitor is defined.
func DefaultRoles(p *config.Plane) Roles {
	roles := AllRoles
	if p.Connections.ClickHouse == nil && p.Connections.Parquet == nil {
		roles &^= Offline
	}
	if len(p.Monitors) == 0 {
		roles &^= Monitor
	}
	return roles
}

// ParseRoles returns the set of the named roles.
func ParseRoles(names []string) (Roles, error) {
	var r Roles
	for _, name := range names {
		bit := Roles(0)
		for i, known := range roleNames {
			if name == known {
				bit = 1 << i
			}
		}
		if bit == 0 {
			return 0, fmt.Errorf("unknown role %q; roles are %s%s", name, strings.Join(roleNames, ", "), spell.Suggest(name, roleNames))
		}
		r |= bit
	}
	if r == 0 {
		return 0, fmt.Errorf("no role is named; roles are %s", strings.Join(roleNames, ", "))
	}
	return r, nil
}

// Has reports whether the set has any of the roles.
func (r Roles) Has(any Roles) bool { return r&any != 0 }

// String returns the names as --roles takes them.
func (r Roles) String() string {
	var names []string
	for i, name := range roleNames {
		if r.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}
