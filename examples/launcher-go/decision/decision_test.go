package decision_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/launcher-go/decision"
	rampdv1 "example.com/launcher-go/gen/rampd/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// read reads a file of vectors from beside the .proto files.
func read(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../proto/rampd/v1", name))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestBucketsAreThePublishedOnes(t *testing.T) {
	var vectors []struct {
		Component string `json:"component"`
		Release   int64  `json:"release"`
		UnitKind  string `json:"unit_kind"`
		Repo      string `json:"repo"`
		JobID     string `json:"job_id"`
		HashInput string `json:"hash_input"`
		Bucket    int32  `json:"bucket"`
	}
	read(t, "bucketing_vectors.json", &vectors)
	if len(vectors) < 60 {
		t.Fatalf("there are only %d vectors", len(vectors))
	}
	for _, vector := range vectors {
		unit := vector.Repo
		if vector.UnitKind == "JOB" && vector.JobID != "" {
			unit = vector.JobID
		}
		if got := decision.Bucket(vector.Component, vector.Release, unit); got != vector.Bucket {
			t.Errorf("%s: bucket %d, expected %d", vector.HashInput, got, vector.Bucket)
		}
	}
}

func TestDecisionsAreThePublishedOnes(t *testing.T) {
	var groups []struct {
		Shows string          `json:"shows"`
		State json.RawMessage `json:"state"`
		Jobs  []struct {
			Repo   string          `json:"repo"`
			JobID  string          `json:"job_id"`
			Now    time.Time       `json:"now"`
			AgeS   float64         `json:"snapshot_age_s"`
			Answer json.RawMessage `json:"answer"`
		} `json:"jobs"`
	}
	read(t, "decision_vectors.json", &groups)
	count := 0
	for _, group := range groups {
		t.Run(group.Shows, func(t *testing.T) {
			state := &rampdv1.ComponentState{}
			if err := protojson.Unmarshal(group.State, state); err != nil {
				t.Fatal(err)
			}
			for _, job := range group.Jobs {
				expected := &rampdv1.ResolveResponse{}
				if err := protojson.Unmarshal(job.Answer, expected); err != nil {
					t.Fatal(err)
				}
				age := time.Duration(math.Round(job.AgeS*1000)) * time.Millisecond
				if got := decision.Decide(state, job.Repo, job.JobID, job.Now, age); !proto.Equal(got, expected) {
					t.Errorf("%s, job %q, at %v, age %v: got %v, expected %v", job.Repo, job.JobID, job.Now, age, got, expected)
				}
				count++
			}
		})
	}
	if count < 200 {
		t.Fatalf("there are only %d vectors", count)
	}
}
