// Answers each Resolve with the same bytes over grpc-go, and parses nothing: the least that a server in Go does.
//
// The first argument is the answer in hex. The program prints its port, and ends on SIGTERM.
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// bytes takes messages as they are.
type bytes struct{}

func (bytes) Name() string { return "bytes" }

func (bytes) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(message.([]byte))}, nil
}

func (bytes) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}

func main() {
	answer, err := hex.DecodeString(os.Args[1])
	if err != nil {
		panic(err)
	}
	resolve := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var request []byte
		return answer, decode(&request)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(bytes{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "rampd.v1.ResolverService",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Resolve", Handler: resolve}},
	}, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	if err := server.Serve(listener); err != nil {
		panic(err)
	}
}
