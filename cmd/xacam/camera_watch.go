package main

import (
	"context"
	"fmt"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/streams/rtsp"
)

// watch raises and clears the camera's offline event.
func (r *runner) watch(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.look(r.deps.now())
	}
}

// look raises or clears the offline event at the given time. While the first
// connection is being made nothing is known, and nothing changes.
func (r *runner) look(now time.Time) {
	if r.undecided(now) {
		return
	}
	var holding []events.Signal
	if s, ok := r.offlineSignal(now); ok {
		holding = append(holding, s)
	}
	if changes := r.offline.Step(now, holding); len(changes) > 0 {
		r.deps.record.Submit(changes)
	}
}

func (r *runner) undecided(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Phase != rtsp.Online && r.state.Phase != rtsp.Offline && now.Sub(r.started) < connectGrace
}

func (r *runner) offlineSignal(now time.Time) (events.Signal, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Phase == rtsp.Online {
		return r.brokenSignal(now)
	}
	reason := rtsp.ReasonOf(r.state.Err)
	why := events.Text{
		VI: fmt.Sprintf("Mất kết nối với camera «%s».", r.plan.source.Name),
		EN: fmt.Sprintf("The connection to camera “%s” is lost.", r.plan.source.Name),
	}
	attributes := map[string]any{"reason": string(reason)}
	if r.state.Err != nil {
		attributes["detail"] = r.state.Err.Error()
	}
	return events.Signal{
		Key:      events.Key{Source: r.plan.slug, Kind: events.KindCameraOffline},
		At:       now,
		Score:    1,
		Severity: events.SeverityHigh,
		Why:      why, Attributes: attributes,
	}, true
}

// brokenFor is how long an analysis must run after its last fault to count as
// whole again: one that fails each time is one event, not many.
const brokenFor = time.Minute

// brokenSignal says that the camera sends pictures nobody can analyse. The
// caller holds r.mu.
func (r *runner) brokenSignal(now time.Time) (events.Signal, bool) {
	if r.broken.IsZero() || now.Sub(r.broken) > brokenFor {
		return events.Signal{}, false
	}
	return events.Signal{
		Key:      events.Key{Source: r.plan.slug, Kind: events.KindCameraOffline},
		At:       now,
		Score:    1,
		Severity: events.SeverityHigh,
		Why: events.Text{
			VI: fmt.Sprintf("Hình ảnh của camera «%s» không phân tích được.", r.plan.source.Name),
			EN: fmt.Sprintf("The pictures of camera “%s” cannot be analysed.", r.plan.source.Name),
		},
		Attributes: map[string]any{"reason": "analysis_failed"},
	}, true
}

func (r *runner) setBroken(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = at
}
