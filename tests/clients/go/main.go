// Calls a server with grpc-go. Each line of standard input says what to do, and a line of JSON says what came.
// tests/clients/client.py has the words: ./client TARGET [CA_FILE TOKEN]
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	rampd "rampd-client-go/gen/rampd/v1"
)

const callers = 8

type found map[string]any

var (
	resolver rampd.ResolverServiceClient
	health   grpc_health_v1.HealthClient
	token    string
	number   atomic.Int64
)

func say(what found) {
	fmt.Println(string(must(json.Marshal(what))))
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

// called gives a call its time, another trace each, and the token.
func called(limit time.Duration) (context.Context, context.CancelFunc) {
	each := number.Add(1)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "traceparent", fmt.Sprintf("00-%032x-%016x-01", each, each))
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	return context.WithTimeout(ctx, limit)
}

func job(component string) *rampd.ResolveRequest {
	return &rampd.ResolveRequest{Component: component, Repo: "acme/app", JobId: "4711"}
}

func resolve(request *rampd.ResolveRequest, limit time.Duration) (string, error) {
	ctx, cancel := called(limit)
	defer cancel()
	answer, err := resolver.Resolve(ctx, request)
	return answer.GetTag(), err
}

func codeOf(err error) string {
	return code.Code(status.Code(err)).String()
}

func refusal(err error) found {
	what := found{"code": codeOf(err), "message": status.Convert(err).Message()}
	for _, detail := range status.Convert(err).Details() {
		if info, is := detail.(*errdetails.ErrorInfo); is {
			what["reason"], what["metadata"] = info.Reason, info.Metadata
		}
	}
	return what
}

func tagsOf(releases []*rampd.Release) []string {
	tags := []string{}
	for _, each := range releases {
		tags = append(tags, each.Tag)
	}
	slices.Sort(tags)
	return tags
}

func watch() {
	ctx, cancel := called(time.Minute)
	stream := must(resolver.Watch(ctx, &rampd.WatchRequest{Components: []string{"restyler"}}))
	for {
		message, err := stream.Recv()
		if err != nil {
			say(found{"ended": codeOf(err)})
			return
		}
		for _, each := range message.GetState().GetComponents() {
			say(found{"state": tagsOf(each.Releases)})
		}
		for _, each := range message.GetChanges() {
			say(found{"change": tagsOf(each.Component.Releases)})
			cancel()
		}
	}
}

func large() found {
	request := &rampd.BatchResolveRequest{}
	for each := range 1000 {
		name := fmt.Sprintf("acme/%s%d", strings.Repeat("a", 100), each)
		request.Requests = append(request.Requests, &rampd.ResolveRequest{Component: "restyler", Repo: name, JobId: strings.Repeat("j", 150)})
	}
	ctx, cancel := called(20 * time.Second)
	defer cancel()
	answer := must(resolver.BatchResolve(ctx, request))
	tags := found{}
	for _, each := range answer.Results {
		tags[each.GetResponse().GetTag()] = true
	}
	return found{"results": len(answer.Results), "tags": len(tags)}
}

// calls keeps calling until each caller has seen an error, while a stream is open.
func calls() {
	var answered, wrong atomic.Int64
	var all, begun sync.WaitGroup
	ends := make(chan string, callers)
	stream := make(chan string, 1)
	begun.Add(callers)
	all.Add(callers)
	for range callers {
		go func() {
			defer all.Done()
			for own := 0; ; own++ {
				if own == 20 {
					begun.Done()
				}
				tag, err := resolve(job("restyler"), 20*time.Second)
				if err != nil {
					ends <- codeOf(err)
					return
				}
				answered.Add(1)
				if tag != "t1" {
					wrong.Add(1)
				}
			}
		}()
	}
	go func() {
		ctx, cancel := called(time.Minute)
		defer cancel()
		messages := must(resolver.Watch(ctx, &rampd.WatchRequest{}))
		var err error
		for err == nil {
			_, err = messages.Recv()
		}
		if err.Error() == "EOF" {
			err = nil
		}
		stream <- codeOf(err)
	}()
	begun.Wait()
	say(found{"begun": true})
	all.Wait()
	close(ends)
	codes := map[string]int{}
	for each := range ends {
		codes[each]++
	}
	say(found{"answered": answered.Load(), "wrong": wrong.Load(), "ends": codes, "stream": <-stream})
}

func bench(calls int) found {
	waits := []float64{}
	for range calls {
		began := time.Now()
		must(resolve(job("restyler"), 5*time.Second))
		waits = append(waits, float64(time.Since(began).Nanoseconds())/1000)
	}
	slices.Sort(waits)
	return found{"p50_us": waits[calls/2], "p99_us": waits[calls*99/100]}
}

func do(word string) {
	switch word, argument, _ := strings.Cut(word, " "); word {
	case "resolve":
		tags := []string{}
		for range 5 {
			tags = append(tags, must(resolve(job("restyler"), 20*time.Second)))
		}
		say(found{"tags": tags})
	case "refused":
		_, err := resolve(job("none"), 20*time.Second)
		say(refusal(err))
	case "watch":
		watch()
	case "late":
		_, err := resolve(job("restyler"), 500*time.Millisecond)
		say(found{"code": codeOf(err)})
	case "health":
		ctx, cancel := called(20 * time.Second)
		defer cancel()
		say(found{"status": must(health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})).Status.String()})
	case "large":
		say(large())
	case "too_large":
		_, err := resolve(&rampd.ResolveRequest{Component: "restyler", JobId: strings.Repeat("j", 5<<20)}, 20*time.Second)
		say(found{"code": codeOf(err)})
	case "calls":
		calls()
	case "bench":
		say(bench(must(strconv.Atoi(argument))))
	}
}

func main() {
	security := insecure.NewCredentials()
	if len(os.Args) > 2 {
		security, token = must(credentials.NewClientTLSFromFile(os.Args[2], "")), os.Args[3]
	}
	connection := must(grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(security)))
	resolver, health = rampd.NewResolverServiceClient(connection), grpc_health_v1.NewHealthClient(connection)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		do(lines.Text())
	}
}
