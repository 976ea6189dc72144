// Package decision says which version a job runs, from a state that Watch sends. It follows docs/resolution.md and
// docs/bucketing.md. The launcher of this example asks the server for each job, and does not need it.
package decision

import (
	"fmt"
	"math"
	"strings"
	"time"

	rampdv1 "example.com/launcher-go/gen/rampd/v1"
	"github.com/spaolacci/murmur3"
)

const (
	// NextMaxStale is the age of a state after which nobody gets next from it.
	NextMaxStale = 300 * time.Second
	// StaleAfter is the age of a state from which on its answers are stale.
	StaleAfter = 5 * time.Second
)

// Bucket returns the bucket of a unit, 0 to 9999, in the rollout of a release.
func Bucket(component string, release int64, unit string) int32 {
	h := murmur3.Sum32(fmt.Appendf(nil, "%s/%d:%s", component, release, unit))
	return int32(uint64(h) * 10000 >> 32)
}

// Decide returns the version for one job. `now` is the time on the store's clock, `age` the age of the state.
func Decide(state *rampdv1.ComponentState, repo, jobID string, now time.Time, age time.Duration) *rampdv1.ResolveResponse {
	weights := state.GetResolution()
	releases := map[int64]*rampdv1.Release{}
	for _, release := range state.GetReleases() {
		releases[release.GetNumber()] = release
	}
	answer := &rampdv1.ResolveResponse{Revision: state.GetRevision(), Stale: age >= StaleAfter}
	if weights.GetNext() != 0 {
		unit := repo
		if weights.GetUnit() == rampdv1.Unit_UNIT_JOB && jobID != "" {
			unit = jobID
		}
		bucket := Bucket(state.GetComponent(), weights.GetNext(), unit)
		answer.Bucket = &bucket
	}

	override := inForce(state.GetOverrides(), repo, now)
	if tag := override.GetTag(); tag != "" {
		answer.Tag, answer.Reason = tag, rampdv1.ResolveReason_RESOLVE_REASON_OVERRIDE_TAG
		numbers := append([]int64{weights.GetCurrent(), weights.GetNext()}, weights.GetQueued()...)
		for _, number := range append(numbers, weights.GetPrevious()...) {
			if release, isKnown := releases[number]; isKnown && release.GetTag() == tag {
				answer.Release = number
				break
			}
		}
		return answer
	}

	var getsNext bool
	switch {
	case override != nil:
		isRollingOut := weights.GetState() == rampdv1.RolloutState_ROLLOUT_STATE_ROLLING_OUT
		getsNext = override.GetChannel() == rampdv1.Channel_CHANNEL_NEXT && isRollingOut
		answer.Reason = rampdv1.ResolveReason_RESOLVE_REASON_OVERRIDE_CHANNEL
	case answer.Bucket == nil:
		answer.Reason = rampdv1.ResolveReason_RESOLVE_REASON_STEADY
	default:
		getsNext = *answer.Bucket < int32(math.Round(weights.GetNextPercent()*100))
		answer.Reason = rampdv1.ResolveReason_RESOLVE_REASON_WEIGHT
	}
	if getsNext && age > NextMaxStale {
		getsNext = false
		answer.Reason = rampdv1.ResolveReason_RESOLVE_REASON_STALE
	}
	answer.Release, answer.Channel = weights.GetCurrent(), rampdv1.Channel_CHANNEL_CURRENT
	if getsNext {
		answer.Release, answer.Channel = weights.GetNext(), rampdv1.Channel_CHANNEL_NEXT
	}
	answer.Tag = releases[answer.Release].GetTag()
	return answer
}

// inForce returns the override of a repo, or else that of its longest prefix, of those that have not ended. Or nil.
func inForce(overrides []*rampdv1.Override, repo string, now time.Time) *rampdv1.Override {
	living := map[string]*rampdv1.Override{}
	for _, override := range overrides {
		if end := override.GetExpireTime(); end == nil || now.Before(end.AsTime()) {
			living[override.GetRepo()] = override
		}
	}
	if own, isThere := living[repo]; isThere {
		return own
	}
	for end := strings.LastIndex(repo, "/"); end >= 0; end = strings.LastIndex(repo[:end], "/") {
		if prefix, isThere := living[repo[:end]+"/*"]; isThere {
			return prefix
		}
	}
	return nil
}
