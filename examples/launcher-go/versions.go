package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"sync"
	"time"

	rampdv1 "example.com/launcher-go/gen/rampd/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// resolveTimeout is how long a job waits for its version at most.
const resolveTimeout = 500 * time.Millisecond

// A version is what rampd answered for a job. Its fields have the names of the API.
type version struct {
	Tag      string `json:"tag"`
	Channel  string `json:"channel"`
	Reason   string `json:"reason"`
	Release  int64  `json:"release"`
	Revision int64  `json:"revision"`
}

func (v version) isFallback() bool {
	return v.Reason == rampdv1.ResolveReason_RESOLVE_REASON_FALLBACK.String()
}

// versions asks rampd for each job. If rampd names no version, a job runs the last one that the file has for its component.
type versions struct {
	path     string
	resolver rampdv1.ResolverServiceClient

	lock      sync.Mutex
	known     map[string]version
	isUnsaved bool
	code      codes.Code // of the last answer
}

func newVersions(path string, resolver rampdv1.ResolverServiceClient) (*versions, error) {
	v := &versions{path: path, resolver: resolver, known: map[string]version{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &v.known)
	}
	return v, err
}

func (v *versions) of(component string, job job) (version, error) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	answer, err := v.resolver.Resolve(ctx, &rampdv1.ResolveRequest{Component: component, Repo: job.Repo, JobId: job.ID})
	code := status.Code(err)
	if code == codes.InvalidArgument {
		return version{}, job.wrong(err)
	}

	v.lock.Lock()
	defer v.lock.Unlock()
	if code != v.code {
		v.code = code
		log.Printf("rampd answers with %s: %v", code, err)
	}
	if err != nil {
		return v.fallback(component, err)
	}
	found := version{answer.Tag, answer.Channel.String(), answer.Reason.String(), answer.Release, answer.Revision}
	v.remember(component, found)
	return found, nil
}

func (v *versions) fallback(component string, err error) (version, error) {
	known, isKnown := v.known[component]
	if !isKnown {
		return version{}, fmt.Errorf("no version of %s is known, so the job waits: %w", component, err)
	}
	return version{
		Tag:     known.Tag,
		Channel: rampdv1.Channel_CHANNEL_UNSPECIFIED.String(),
		Reason:  rampdv1.ResolveReason_RESOLVE_REASON_FALLBACK.String(),
	}, nil
}

// remember keeps the last answer that may run everywhere: current. Next may be rolled back while rampd is away, and an
// override to a tag is for one repo. No job waits for the file.
func (v *versions) remember(component string, found version) {
	if found.Channel == rampdv1.Channel_CHANNEL_CURRENT.String() && found.Tag != v.known[component].Tag {
		v.known[component] = found
		v.isUnsaved = true
	}
	if !v.isUnsaved {
		return
	}
	if err := writeJSON(v.path, v.known); err != nil {
		log.Printf("the next job tries again: %v", err)
		return
	}
	v.isUnsaved = false
}
