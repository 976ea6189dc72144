// Calls a server by the Connect protocol with Go's library, and prints what came.
// go run . URL DESCRIPTORS json|proto
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

var (
	url, kind = os.Args[1], os.Args[3]
	files     *protoregistry.Files
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func client(path string) (*connect.Client[dynamicpb.Message, dynamicpb.Message], protoreflect.MethodDescriptor) {
	name := protoreflect.FullName("rampd.v1." + strings.ReplaceAll(path, "/", "."))
	method := must(files.FindDescriptorByName(name)).(protoreflect.MethodDescriptor)
	options := []connect.ClientOption{
		connect.WithSchema(method),
		connect.WithSendGzip(),
		connect.WithResponseInitializer(func(_ connect.Spec, message any) error {
			*message.(*dynamicpb.Message) = *dynamicpb.NewMessage(method.Output())
			return nil
		}),
	}
	if kind == "json" {
		options = append(options, connect.WithProtoJSON())
	}
	return connect.NewClient[dynamicpb.Message, dynamicpb.Message](http.DefaultClient, url+"/rampd.v1."+path, options...), method
}

func asked(method protoreflect.MethodDescriptor, text string) *connect.Request[dynamicpb.Message] {
	message := dynamicpb.NewMessage(method.Input())
	must(0, protojson.Unmarshal([]byte(text), message))
	return connect.NewRequest(message)
}

func shown(message proto.Message) map[string]any {
	var found map[string]any
	must(0, json.Unmarshal(must(protojson.Marshal(message)), &found))
	return found
}

func call(ctx context.Context, path, text string) (map[string]any, error) {
	made, method := client(path)
	answer, err := made.CallUnary(ctx, asked(method, text))
	if err != nil {
		return nil, err
	}
	return shown(answer.Msg), nil
}

func refusal(err error) map[string]any {
	found := map[string]any{"code": connect.CodeOf(err).String()}
	var known *connect.Error
	if !errors.As(err, &known) {
		return found
	}
	found["message"] = known.Message()
	for _, detail := range known.Details() {
		if detail.Type() == "google.rpc.ErrorInfo" {
			kind := must(files.FindDescriptorByName("google.rpc.ErrorInfo")).(protoreflect.MessageDescriptor)
			info := dynamicpb.NewMessage(kind)
			must(0, proto.Unmarshal(detail.Bytes(), info))
			found["reason"] = shown(info)["reason"]
		}
	}
	return found
}

func stream(ctx context.Context, path, text string, each func(map[string]any) bool) error {
	made, method := client(path)
	messages, err := made.CallServerStream(ctx, asked(method, text))
	if err != nil {
		return err
	}
	defer messages.Close()
	for messages.Receive() {
		if !each(shown(messages.Msg())) {
			return nil
		}
	}
	return messages.Err()
}

func main() {
	var set descriptorpb.FileDescriptorSet
	must(0, proto.Unmarshal(must(os.ReadFile(os.Args[2])), &set))
	files = must(protodesc.NewFiles(&set))
	ctx := context.Background()
	found := map[string]any{}

	found["released"] = must(call(ctx, "ReleaseService/Release", `{"component":"go","tag":"t1"}`))["message"]
	found["tag"] = must(call(ctx, "ResolverService/Resolve", `{"component":"go","repo":"acme/app"}`))["tag"]
	_, err := call(ctx, "ResolverService/Resolve", `{"component":"none","repo":"acme/app"}`)
	found["missing"] = refusal(err)
	_, err = call(ctx, "RolloutService/Ramp", `{"component":"go","percent":200}`)
	found["wrong"] = refusal(err)
	late, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	_, err = call(late, "ResolverService/Resolve", `{"component":"go","repo":"acme/app","minRevision":"99"}`)
	found["late"] = refusal(err)
	cancel()

	changes := []any{}
	must(0, stream(ctx, "ResolverService/Watch", `{"components":["go"]}`, func(message map[string]any) bool {
		if state, ok := message["state"].(map[string]any); ok {
			for _, each := range state["components"].([]any) {
				found["first"] = []any{each.(map[string]any)["component"]}
			}
			must(call(ctx, "ReleaseService/Release", `{"component":"go","tag":"t2"}`))
		}
		if changed, ok := message["changes"].([]any); ok {
			for _, each := range changed {
				changes = append(changes, each.(map[string]any)["component"].(map[string]any)["component"])
			}
		}
		return len(changes) == 0
	}))
	found["changes"] = changes

	must(call(ctx, "RolloutService/Abandon", `{"component":"go"}`))
	states := []any{}
	must(0, stream(ctx, "ReleaseService/WatchRelease", `{"component":"go","release":"2"}`, func(message map[string]any) bool {
		states = append(states, message["release"].(map[string]any)["tag"])
		return true
	}))
	found["states"] = states
	err = stream(ctx, "ReleaseService/WatchRelease", `{"component":"none","release":"2"}`, func(map[string]any) bool { return true })
	found["refusedStream"] = refusal(err)
	fmt.Println(string(must(json.Marshal(found))))
}
