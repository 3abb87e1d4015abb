// Package serving answers lookups: the features of some entities as of now, read from the online store in one round
// trip a Redis node, over the faces that model servers speak (Feast's HTTP and gRPC protocols).
//
// A request's shape (its features or service, its columns) is resolved once to a plan and kept; a request then is:
// parse its columns by the plan's types, fetch each distinct entity once, evaluate each view at the reader's clock,
// compute the service's derived features, encode. A face only translates: what is found, its status and its errors are
// decided in one place and are the same on every face.
//
// Here enters what a lookup needs. How blobs are laid out and windows merged is internal/feature, how Redis is reached
// is internal/online, listeners and credentials are the caller's.
package serving
