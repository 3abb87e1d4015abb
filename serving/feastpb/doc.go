// Package feastpb holds the messages and the service of the Feast serving protocol, in two packages as the protocol has
// two: feast/types and feast/serving. The .proto files beside them are their source; nothing else enters here.
package feastpb

// protoc comes from the system (Debian: protobuf-compiler), its plugins from
// `go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12` and
// `go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2`.
//
//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative feast/types/value.proto feast/serving/serving_service.proto
