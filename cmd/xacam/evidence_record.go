package main

import (
	"encoding/json"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision/camera"
)

// record says what an event was judged by and with: it is Draft.Record and the
// file "record" of the package.
type record struct {
	Event       string              `json:"event"`
	OccurredAt  time.Time           `json:"occurred_at"`
	Camera      recordCamera        `json:"camera"`
	Rule        *recordRule         `json:"rule,omitempty"`
	Calibration *camera.Calibration `json:"calibration,omitempty"`
	Model       *recordModel        `json:"model,omitempty"`
	Software    recordSoftware      `json:"software"`
	Clock       recordClock         `json:"clock"`
	Clip        *recordClip         `json:"clip,omitempty"`
	Masks       [][]camera.Point    `json:"masks,omitempty"` // where nobody looks
	Boxes       *[]evidence.Box     `json:"boxes,omitempty"` // in the picture of the act; nil when that is not known
}

type recordCamera struct {
	Slug   string       `json:"slug"`
	Name   string       `json:"name"`
	Hamlet string       `json:"hamlet"`
	Place  events.Place `json:"place"`
	Codec  string       `json:"codec,omitempty"` // of the main stream
	Width  int          `json:"width,omitempty"`
	Height int          `json:"height,omitempty"`
	FPS    float64      `json:"detect_fps"`
}

// recordRule is the rule as it was, with the area that it watches and its
// schedule.
type recordRule struct {
	Version int          `json:"version"`
	Rule    camera.Rule  `json:"rule"`
	Zone    *camera.Zone `json:"zone,omitempty"`
	Line    *camera.Line `json:"line,omitempty"`
}

type recordModel struct {
	Name     string  `json:"name"`
	SHA256   string  `json:"sha256,omitempty"`
	Licence  string  `json:"licence,omitempty"`
	MinScore float64 `json:"min_score"`
}

type recordSoftware struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// recordClock says what the times are worth.
type recordClock struct {
	Source   string     `json:"source"`              // of capture times: "rtcp" (the camera's clock) or "arrival" (the server's)
	OffsetMS *int64     `json:"offset_ms,omitempty"` // camera's clock − server's, where the camera tells
	Host     *recordNTP `json:"host,omitempty"`
	ServerAt time.Time  `json:"server_at"` // the server's clock when this was written
}

// recordNTP is how the kernel's clock is kept; see adjtimex(2).
type recordNTP struct {
	Synchronised    bool  `json:"synchronised"`
	EstimatedErrorU int64 `json:"estimated_error_us"`
	MaximumErrorU   int64 `json:"maximum_error_us"`
	OffsetU         int64 `json:"offset_us"` // still to be corrected
}

// recordClip says where the event is in its clip.
type recordClip struct {
	Path    string    `json:"path"`
	Start   time.Time `json:"start"` // capture time of the first picture
	End     time.Time `json:"end"`
	EventMS int64     `json:"event_ms"` // where the event is, from the start
	Shared  bool      `json:"shared,omitempty"`
}

// newRecord describes how an event came about. manifest may be nil.
func newRecord(ev *events.Event, s *sight, manifest func(string) (models.Manifest, error), now time.Time) record {
	r := record{
		Event: ev.ID, OccurredAt: ev.OccurredAt,
		Camera:   recordCamera{Slug: ev.Source.ID, Name: ev.Source.Name, Hamlet: ev.Source.Hamlet, Place: ev.Place},
		Software: recordSoftware{Name: "xacam", Version: version},
		Clock:    recordClock{Source: "server", ServerAt: now.UTC(), Host: hostClock()},
	}
	if s == nil {
		return r
	}
	f := s.deck.state().format
	r.Camera.Codec, r.Camera.Width, r.Camera.Height, r.Camera.FPS = f.Codec.String(), f.Width, f.Height, s.plan.fps
	if f.Codec == 0 {
		r.Camera.Codec = ""
	}
	r.Calibration, r.Masks = s.plan.file.Calibration, s.plan.file.Masks
	r.Rule = recordOf(ev, &s.plan.file)
	if ev.Kind != events.KindCameraOffline {
		r.Model = &recordModel{Name: s.plan.model, MinScore: s.plan.file.Detect.MinScore}
		if manifest != nil {
			if m, err := manifest(s.plan.model); err == nil {
				r.Model.SHA256, r.Model.Licence = m.SHA256, m.Licence
			}
		}
		st := s.stats()
		r.Clock.Source = "arrival"
		if st.ByReport {
			r.Clock.Source = "rtcp"
		}
		if st.Reports {
			ms := st.ClockOffset.Milliseconds()
			r.Clock.OffsetMS = &ms
		}
	}
	return r
}

// recordOf returns the rule of an event as the camera's file has it.
func recordOf(ev *events.Event, file *camera.File) *recordRule {
	for _, rule := range file.Rules {
		if rule.Name != ev.Rule.Name || ev.Rule.Name == "" {
			continue
		}
		out := &recordRule{Version: ev.Rule.Version, Rule: rule}
		if z, ok := file.Zones[rule.Zone]; ok {
			out.Zone = &z
		}
		if l, ok := file.Lines[rule.Line]; ok {
			out.Line = &l
		}
		return out
	}
	return nil
}

// hostClock asks the kernel how its clock is kept; nil when it does not say.
func hostClock() *recordNTP {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return nil
	}
	return &recordNTP{
		Synchronised: state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, EstimatedErrorU: t.Esterror, MaximumErrorU: t.Maxerror, OffsetU: t.Offset,
	}
}

func (r *record) encode() json.RawMessage {
	b, err := json.Marshal(r)
	if err != nil { // a rule's parameters that cannot be written
		b, _ = json.Marshal(map[string]string{"event": r.Event, "error": err.Error()})
	}
	return b
}

// evidenceTrack is the file "track": where the objects of an event were.
type evidenceTrack struct {
	Event  string    `json:"event"`
	Camera string    `json:"camera"`
	Box    string    `json:"box"` // what the numbers are
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Cut    bool      `json:"cut,omitempty"` // there was more than is kept
	// Complete are the looks, in milliseconds after From by the clip's clock, in which
	// everyone who was seen is listed: where there is none near, nobody knows who was
	// there.
	Complete []int64         `json:"complete_ms"`
	Objects  []trackedObject `json:"objects"`
}

type trackedObject struct {
	Role   string      `json:"role"` // "subject", "thing", "other"
	ID     uint64      `json:"id"`
	Class  string      `json:"class"`
	Points []trackedAt `json:"points"`
}

type trackedAt struct {
	At      time.Time  `json:"at"`
	Box     [4]float64 `json:"box"`
	Score   float64    `json:"score"`
	Guessed bool       `json:"guessed,omitempty"` // predicted, not detected
	Class   string     `json:"class,omitempty"`   // where it is not that of the object, which is the last
	SkewMS  int64      `json:"skew_ms,omitempty"` // of the clip's clock against that of At, where the clip is of another stream
}

// newEvidenceTrack sorts what was seen by object, in the order in which they came.
func newEvidenceTrack(ev *events.Event, looks []seenLook, f *following) evidenceTrack {
	out := evidenceTrack{Event: ev.ID, Camera: ev.Source.ID, Box: "x0 y0 x1 y1, in parts of the picture, y down", Cut: f.cut, Complete: []int64{}, Objects: []trackedObject{}}
	type key struct {
		id    uint64
		thing bool
	}
	at := make(map[key]int)
	for _, l := range looks {
		if l.whole {
			out.Complete = append(out.Complete, l.at.Add(l.skew).Sub(looks[0].at).Milliseconds())
		}
		for _, b := range l.boxes {
			k := key{b.id, b.thing}
			i, known := at[k]
			if !known {
				i = len(out.Objects)
				at[k] = i
				role := "other"
				switch {
				case b.thing:
					role = "thing"
				case b.id == f.subject:
					role = "subject"
				}
				out.Objects = append(out.Objects, trackedObject{Role: role, ID: b.id})
			}
			o := &out.Objects[i]
			o.Class = b.class
			r := func(v float64) float64 { return float64(int(v*1e5+.5)) / 1e5 }
			o.Points = append(o.Points, trackedAt{
				At: l.at.UTC(), Box: [4]float64{r(b.box.Min.X), r(b.box.Min.Y), r(b.box.Max.X), r(b.box.Max.Y)}, Score: r(b.score), Guessed: b.guessed,
				Class: b.class, SkewMS: l.skew.Milliseconds(),
			})
		}
	}
	for i := range out.Objects {
		o := &out.Objects[i]
		for k := range o.Points {
			if o.Points[k].Class == o.Class {
				o.Points[k].Class = ""
			}
		}
	}
	if n := len(looks); n > 0 {
		out.From, out.To = looks[0].at.UTC(), looks[n-1].at.UTC()
	}
	return out
}
