module rampd-connect-go

go 1.24.0

require (
	connectrpc.com/connect v1.18.1
	google.golang.org/protobuf v1.36.11
)
