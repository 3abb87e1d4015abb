//go:build nobuckets

package parquet

import (
	"context"
	"fmt"
	"net/url"
)

// openBucket refuses. What reaches buckets is a quarter of the time that a build from nothing takes, and half of its downloads: the demo, which
// has none, is built without.
func openBucket(_ context.Context, u *url.URL) (place, error) {
	return nil, fmt.Errorf("open bucket %s://%s: this program was built with the tag nobuckets, without what reaches buckets; "+
		"build it without the tag, or keep the files in a folder (file:///...)", u.Scheme, u.Host)
}
