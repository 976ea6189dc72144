package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"

	rampdv1 "example.com/launcher-go/gen/rampd/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	batchSize     = 1000 // the API takes at most so many
	gather        = 200 * time.Millisecond
	reportTimeout = 5 * time.Second
	firstPause    = 100 * time.Millisecond
	longestPause  = 10 * time.Second
)

// A batch is what goes to the server in one call. It is written to a file before it is sent for the first time, so that a
// launcher that is killed sends the same batch again, with the same number. The server counts it once.
type batch struct {
	ClientID     string   `json:"client_id"`
	Sequence     int64    `json:"sequence"`
	Names        []string `json:"names"`
	Acknowledged bool     `json:"acknowledged"`
}

// A reporter sends outcomes, one batch after the other.
type reporter struct {
	component string
	queue     *queue
	resolver  rampdv1.ResolverServiceClient
	path      string
	batch     batch
}

func newReporter(component string, queue *queue, resolver rampdv1.ResolverServiceClient) (*reporter, error) {
	r := &reporter{component: component, queue: queue, resolver: resolver, path: filepath.Join(queue.folder, "batch.json")}
	text, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		r.batch = batch{ClientID: rand.Text(), Acknowledged: true}
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r.batch)
	}
	return r, err
}

// run sends batches until the launcher stops.
func (r *reporter) run(stopping context.Context) {
	failures := 0
	for stopping.Err() == nil {
		_, err := r.report(stopping)
		if err != nil && stopping.Err() == nil {
			log.Printf("batch %d will be sent again: %v", r.batch.Sequence, err)
			longest := min(longestPause, firstPause<<min(failures, 10))
			pause(stopping, time.Duration(mathrand.Int64N(int64(longest)))+firstPause)
			failures++
		} else {
			failures = 0
			pause(stopping, gather)
		}
	}
}

// flush sends what is left. What no server takes now is sent by the next launcher of this folder.
func (r *reporter) flush() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for {
		sent, err := r.report(ctx)
		if err != nil {
			log.Printf("batch %d was not taken: %v", r.batch.Sequence, err)
			return nil
		}
		if !sent {
			return nil
		}
	}
}

// report sends a batch, and says whether there was one.
func (r *reporter) report(ctx context.Context) (bool, error) {
	if r.batch.Acknowledged {
		names, err := r.queue.names(unreported)
		if err != nil || len(names) == 0 {
			return false, err
		}
		next := batch{ClientID: r.batch.ClientID, Sequence: r.batch.Sequence + 1, Names: names[:min(len(names), batchSize)]}
		if err := writeJSON(r.path, next); err != nil {
			return false, err
		}
		r.batch = next
	}
	request, err := r.request()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	answer, err := r.resolver.ReportOutcomes(ctx, request)
	if status.Code(err) == codes.InvalidArgument {
		log.Printf("batch %d is dropped, because no server will take it: %v", r.batch.Sequence, err)
	} else if err != nil {
		return false, err
	}
	for _, ignored := range answer.GetIgnored() {
		log.Printf("the outcome of %s is not counted: %s", r.batch.Names[ignored.Index], ignored.Message)
	}
	return true, r.acknowledged()
}

func (r *reporter) request() (*rampdv1.ReportOutcomesRequest, error) {
	request := &rampdv1.ReportOutcomesRequest{ClientId: r.batch.ClientID, Sequence: r.batch.Sequence}
	for _, name := range r.batch.Names {
		what, _, err := r.queue.done(name)
		if err != nil {
			return nil, fmt.Errorf("what %s did can't be read: %w", name, err)
		}
		result := rampdv1.OutcomeResult_OUTCOME_RESULT_SUCCEEDED
		if what.Code != 0 {
			result = rampdv1.OutcomeResult_OUTCOME_RESULT_FAILED
		}
		request.Outcomes = append(request.Outcomes, &rampdv1.Outcome{
			Component: r.component,
			Release:   what.Release,
			Revision:  what.Revision,
			Channel:   rampdv1.Channel(rampdv1.Channel_value[what.Channel]),
			Reason:    rampdv1.ResolveReason(rampdv1.ResolveReason_value[what.Reason]),
			Repo:      what.Repo,
			JobId:     what.ID,
			Result:    result,
			Duration:  durationpb.New(time.Duration(what.Seconds * float64(time.Second))),
		})
	}
	return request, nil
}

// acknowledged moves the jobs of the batch first. If the launcher is killed in between, the same batch is sent again.
func (r *reporter) acknowledged() error {
	for _, name := range r.batch.Names {
		_, folder, err := r.queue.done(name)
		if err == nil && folder == unreported {
			err = os.Rename(r.queue.path(unreported, name), r.queue.path(finished, name))
		}
		if err != nil {
			return err
		}
	}
	r.batch.Acknowledged = true
	return writeJSON(r.path, r.batch)
}
