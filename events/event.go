// Package events defines what the rest of the server agrees on: signals in,
// events out. It imports nothing but the standard library.
package events

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Kind names a behaviour or a sensor rule, for example "intrusion".
type Kind string

// Kinds that the server itself raises, without a rule in vision/behaviour.
const (
	KindCameraOffline   Kind = "camera_offline"
	KindDeliveryFailing Kind = "delivery_failing" // an endpoint does not take its deliveries
	KindStorageLow      Kind = "storage_low"      // the disk of the media is full or cannot be written
)

// Severity says how urgently a person must look. The zero value is not valid.
type Severity string

// Severities from least to most urgent.
const (
	SeverityInfo     Severity = "info"
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// Severities lists every severity, least urgent first.
func Severities() []Severity {
	return []Severity{SeverityInfo, SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical}
}

// Text is one sentence in the shipped languages.
type Text struct {
	VI string `json:"vi"`
	EN string `json:"en"`
}

// Key identifies one ongoing condition. Two signals with the same key describe
// the same real-world situation and therefore the same event.
type Key struct {
	Source string // slug of the camera, or sensor ID
	Kind   Kind
	Rule   string // name of the rule, "" when the server itself watches
	Zone   string // zone or line, "" when the rule has none
	Object string // decimal track ID, "" when the rule is not about one object
}

// RuleRef names the version of a rule that fired.
type RuleRef struct {
	Name    string `json:"name"`
	Version int    `json:"version"` // 1 is the first; raised by each change of the rule
}

// Subject is the object an event is about.
type Subject struct {
	Track uint64     `json:"track"`
	Class string     `json:"class"`
	Score float64    `json:"score"` // in [0,1]
	Box   [4]float64 `json:"box"`   // x0, y0, x1, y1 in [0,1] of the picture
}

// Signal says that a condition holds at a moment. Absence of a signal for a
// key at a given moment means that it does not hold. A signal is immutable
// once handed over.
type Signal struct {
	Key        Key
	At         time.Time // capture time, UTC
	Score      float64   // confidence in [0,1]
	Severity   Severity  // required
	Rule       RuleRef
	Subject    *Subject // nil when the signal is not about one object
	Why        Text     // why it fired, one sentence in each language
	Attributes map[string]any
}

// Count is how many objects passed in one minute. Within one Run the same
// minute may be told several times, each time with the total so far.
type Count struct {
	Source    string // slug of the camera
	Run       string // the analysis that counted; a restart begins another
	Rule      string
	Line      string
	Class     string
	Direction string    // "a_to_b", "b_to_a"
	Minute    time.Time // its beginning, UTC
	N         int
}

// State is the state of an event.
type State string

// Event states, in the only order in which they can occur.
const (
	StateRaised  State = "raised"
	StateCleared State = "cleared"
)

// Step is what a change was about.
type Step string

// Steps in the life of an event. The first three happen once.
const (
	StepRaised   Step = "raised"
	StepCleared  Step = "cleared"
	StepEvidence Step = "evidence" // its package is sealed
	StepWorkflow Step = "workflow" // a person did something
)

// Steps lists every step.
func Steps() []Step { return []Step{StepRaised, StepCleared, StepEvidence, StepWorkflow} }

// Source is what an event was seen by.
type Source struct {
	Type   string `json:"type"` // "camera", "system"; "sensor", "speaker" later
	ID     string `json:"id"`
	Name   string `json:"name"`
	Hamlet string `json:"hamlet"`
}

// Place is where an event happened.
type Place struct {
	Commune string   `json:"commune"` // national code, "31615"
	Lat     *float64 `json:"lat"`     // WGS 84 degrees; nil when not configured
	Lon     *float64 `json:"lon"`
}

// EvidenceRef points to a stored file. Path is relative to the media folder,
// with forward slashes; the file was synced to disk before the reference is
// committed.
type EvidenceRef struct {
	// Type is "snapshot" (the whole picture as it came), "annotated" (a copy with
	// boxes), "still" (approach, act, detail, before, after), "clip", "track",
	// "record" (the event and the versions of all that led to it) or "manifest".
	Type   string
	Path   string
	SHA256 string // 64 hex digits
	Bytes  int64
	Gone   time.Time // when the file was deleted; zero while it is there
}

// Workflow is what people did with an event.
type Workflow struct {
	State    string  `json:"state"` // "new", "acknowledged", "assigned", "closed"
	Assignee *string `json:"assignee"`
	Verdict  *string `json:"verdict"` // "confirmed", "false_alarm", "other"; only when closed
}

// Event is a condition that held for long enough to matter. Times are UTC with
// microsecond precision, which is what the store keeps.
type Event struct {
	ID         string // UUIDv7 whose time is OccurredAt, see NewID
	Kind       Kind
	State      State
	Severity   Severity
	Source     Source
	Place      Place
	Zone       string
	Rule       RuleRef
	Object     string // Key.Object, to find the event again after a restart
	OccurredAt time.Time
	ClearedAt  time.Time // zero while raised
	ReceivedAt time.Time // when the store first committed it; zero before
	Sequence   int64     // of the latest change; 0 before the first commit
	Subject    *Subject
	Why        Text
	Attributes map[string]any
	Evidence   []EvidenceRef
	Workflow   Workflow
	// Step is what the change was about of which the event is shown, where it was
	// read from the log of changes; "" elsewhere.
	Step Step
}

// Key returns the key of the signals that keep the event alive.
func (e *Event) Key() Key {
	return Key{Source: e.Source.ID, Kind: e.Kind, Rule: e.Rule.Name, Zone: e.Zone, Object: e.Object}
}

// Change is one step in the life of an event: Event as it is after the step,
// whose State says which one. Committing the same change twice is harmless.
type Change struct {
	Event Event
}

// NewID returns the UUIDv7 (RFC 9562, 5.7) of the event that key raises at the
// given moment. The time part is the capture time in milliseconds and the rest
// is a hash of key and time, not random: the same recording gives the same
// identifiers, and an event found again after a crash is not stored twice.
func NewID(key Key, at time.Time) string {
	h := sha256.New()
	var n [8]byte
	for _, s := range []string{key.Source, string(key.Kind), key.Rule, key.Zone, key.Object} {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	binary.BigEndian.PutUint64(n[:], uint64(at.UnixMicro()))
	h.Write(n[:])
	var id [16]byte
	copy(id[6:], h.Sum(nil))
	ms := uint64(max(0, at.UnixMilli()))
	binary.BigEndian.PutUint64(n[:], ms<<16)
	copy(id[:6], n[:6])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	s := hex.EncodeToString(id[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// Errors that cross package boundaries. Callers test with errors.Is.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("conflict")
	// ErrUnavailable says that the store cannot be reached now; what was to be
	// stored must be kept and offered again.
	ErrUnavailable = errors.New("store unavailable")
)

// FieldError reports one invalid field of a request or of the configuration.
type FieldError struct {
	Field  string // path in the document, "cameras[2].url"
	Reason string // what is wrong and what to do, without the field name
}

// Error implements error.
func (e *FieldError) Error() string { return fmt.Sprintf("%s: %s", e.Field, e.Reason) }

// Filter selects events. The zero value selects everything; within one list
// any value matches, and all lists must match.
type Filter struct {
	From, To   time.Time // of OccurredAt, From inclusive, To exclusive; zero is open
	Kinds      []Kind
	Sources    []string // camera slugs
	Zones      []string
	Severities []Severity
	States     []State
	Workflow   []string // of WorkflowStates
	Assignees  []string
}

// Page asks for one page of a list, newest first.
type Page struct {
	Before string // ID of the last event of the page before; "" for the first page
	Limit  int    // 1 to 500
}
