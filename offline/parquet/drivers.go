//go:build !nobuckets

package parquet

// The buckets that this build can reach. They are a third of its size and of the time it takes to build: the tag nobuckets
// leaves them out.
import (
	_ "gocloud.dev/blob/gcsblob" // gs://
	_ "gocloud.dev/blob/s3blob"  // s3://
)
