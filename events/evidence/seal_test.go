package evidence_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/vault"
)

// memDrafts keeps drafts as JSON, as a folder would.
type memDrafts struct {
	mu   sync.Mutex
	list map[string][]byte
	err  error // of RemoveDraft

	reads int
}

func (m *memDrafts) put(t *testing.T, d evidence.Draft) {
	t.Helper()
	b, err := json.Marshal(d)
	require.NoError(t, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.list == nil {
		m.list = make(map[string][]byte)
	}
	m.list[d.Event.ID] = b
}

func (m *memDrafts) DraftIDs(context.Context) ([]string, error) {
	return slices.Sorted(slices.Values(m.left())), nil
}

func (m *memDrafts) Draft(id string) (evidence.Draft, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	b, ok := m.list[id]
	if !ok {
		return evidence.Draft{}, events.ErrNotFound
	}
	var d evidence.Draft
	if err := json.Unmarshal(b, &d); err != nil {
		return d, errors.Join(evidence.ErrDamaged, err)
	}
	return d, nil
}

func (m *memDrafts) RemoveDraft(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	delete(m.list, id)
	return nil
}

func (m *memDrafts) left() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for id := range m.list {
		out = append(out, id)
	}
	return out
}

// memChain is a chain in memory.
type memChain struct {
	mu     sync.Mutex
	known  map[string]bool // events that are stored
	sealed []evidence.Sealed
	fault  func(id string) error // after build, in place of the commit
	away   bool
	asked  int
}

func (c *memChain) Event(_ context.Context, id string) (events.Event, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	switch {
	case c.away:
		return events.Event{}, events.ErrUnavailable
	case !c.known[id]:
		return events.Event{}, events.ErrNotFound
	}
	return events.Event{ID: id}, nil
}

func (c *memChain) Seal(_ context.Context, id string, build func(evidence.Link) (evidence.Sealed, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known[id] {
		return events.ErrNotFound
	}
	if slices.ContainsFunc(c.sealed, func(s evidence.Sealed) bool { return s.EventID == id }) {
		return nil
	}
	previous := evidence.Link{SHA256: evidence.NoPrevious}
	if n := len(c.sealed); n > 0 {
		previous = evidence.Link{Number: c.sealed[n-1].Number, SHA256: c.sealed[n-1].SHA256}
	}
	s, err := build(previous)
	if err != nil {
		return err
	}
	if c.fault != nil {
		if err := c.fault(id); err != nil {
			return err
		}
	}
	c.sealed = append(c.sealed, s)
	return nil
}

func (c *memChain) entries() []evidence.Sealed {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sealed)
}

// seals is a bench for tests of the sealer.
type seals struct {
	dir    string
	store  *evidence.Store
	drafts *memDrafts
	chain  *memChain
	vault  *vault.Vault
	clock  time.Time
	late   func(*evidence.Draft) bool
}

var day = time.Date(2026, 11, 23, 15, 14, 5, 120_000_000, time.UTC) //nolint:gochecknoglobals // a constant

func newSeals(t *testing.T) *seals {
	t.Helper()
	dir := t.TempDir()
	store, err := evidence.Open(filepath.Join(dir, "media"))
	require.NoError(t, err)
	v, err := vault.Open(filepath.Join(dir, "keys"))
	require.NoError(t, err)
	return &seals{
		dir: dir, store: store, drafts: &memDrafts{}, chain: &memChain{known: make(map[string]bool)}, vault: v, clock: day.Add(time.Minute),
	}
}

func (s *seals) sealer(t *testing.T) *evidence.Sealer {
	t.Helper()
	sealer, err := evidence.NewSealer(evidence.SealerConfig{
		Store: s.store, Drafts: s.drafts, Chain: s.chain, Signer: s.vault, Software: "xacam test",
		Every: 5 * time.Millisecond, Now: func() time.Time { return s.clock }, Late: s.late,
	})
	require.NoError(t, err)
	return sealer
}

// run runs a sealer until done says so.
func (s *seals) run(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	sealer := s.sealer(t)
	go func() { ended <- sealer.Run(ctx) }()
	assert.Eventually(t, done, 10*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
}

// draft makes the draft of the n-th event, with its files.
func (s *seals) draft(t *testing.T, n int) evidence.Draft {
	t.Helper()
	at := day.Add(time.Duration(n) * time.Second)
	key := events.Key{Source: "cong-cho", Kind: "intrusion", Rule: "dem", Zone: "san", Object: strconv.Itoa(n)}
	d := evidence.Draft{
		Event: events.Event{
			ID: events.NewID(key, at), Kind: key.Kind, State: events.StateRaised, Severity: events.SeverityHigh,
			Source: events.Source{Type: "camera", ID: key.Source, Name: "Cổng chợ", Hamlet: "an-thuong"},
			Zone:   key.Zone, Rule: events.RuleRef{Name: key.Rule, Version: 3}, OccurredAt: at,
			Why: events.Text{VI: "Một người ở trong vùng «san».", EN: "A person <&>\u2028\"in\" the zone."},
		},
		Record: json.RawMessage(`{ "model": {"name": "yolox-nano"},
			"boxes": [{"class":"person","box":[0.4,0.5,0.5,0.9],"subject":true},{"class":"person","box":[0.1,0.5,0.2,0.9],"subject":false}] }`),
		Flaws: []string{"no stills: it was dark"}, Started: at, Ready: true,
	}
	stamp := strconv.FormatInt(at.UnixMilli(), 10)
	for _, f := range [][2]string{
		{"snapshot", "cong-cho-" + stamp + ".jpg"},
		{"still", "cong-cho-" + stamp + "-approach.jpg"},
		{"still", "cong-cho-" + stamp + "-act.jpg"},
		{"clip", "cong-cho-" + stamp + ".mp4"},
		{"track", "cong-cho-" + stamp + ".jsonl"},
	} {
		ref, err := s.store.Put(f[0], f[1], at, bytes.Repeat([]byte(f[0]+" "+f[1]+"\n"), 50))
		require.NoError(t, err)
		d.Files = append(d.Files, ref)
	}
	return d
}

// add makes a draft of a stored event.
func (s *seals) add(t *testing.T, n int) evidence.Draft {
	t.Helper()
	d := s.draft(t, n)
	s.chain.known[d.Event.ID] = true
	s.drafts.put(t, d)
	return d
}

func (s *seals) path(ref string) string {
	return filepath.Join(s.dir, "media", filepath.FromSlash(ref))
}

func (s *seals) manifest(t *testing.T, e evidence.Sealed) *evidence.Manifest {
	t.Helper()
	b, err := os.ReadFile(s.path(e.Path))
	require.NoError(t, err)
	m, err := evidence.ParseManifest(b)
	require.NoError(t, err)
	return m
}

func TestSealInOrder(t *testing.T) {
	t.Parallel()
	s := newSeals(t)
	var want []string
	for _, n := range []int{3, 1, 2} {
		s.add(t, n)
	}
	for _, n := range []int{1, 2, 3} {
		want = append(want, s.draft(t, n).Event.ID)
	}
	s.run(t, func() bool { return len(s.drafts.left()) == 0 })
	previous := evidence.Link{SHA256: evidence.NoPrevious}
	for i, e := range s.chain.entries() {
		assert.Equal(t, want[i], e.EventID)
		m := s.manifest(t, e)
		assert.Equal(t, int64(i+1), m.Number)
		assert.Equal(t, previous, m.Previous)
		assert.Equal(t, want[i], m.EventID())
		assert.Len(t, m.Files, 5)
		assert.Equal(t, []string{"no stills: it was dark"}, m.Flaws)
		assert.Equal(t, "still-approach.jpg", m.Files[1].Name)
		previous = evidence.Link{Number: m.Number, SHA256: e.SHA256}
		types := make([]string, len(e.Files))
		for k, f := range e.Files {
			types[k] = f.Type
		}
		assert.Equal(t, []string{"snapshot", "still", "still", "clip", "track", "signature", "manifest"}, types)
	}
}

func TestWhatNoLongerFitsIsAFlaw(t *testing.T) {
	t.Parallel()
	s := newSeals(t)
	d := s.add(t, 1)
	require.NoError(t, os.Remove(s.path(d.Files[1].Path)))
	b, err := os.ReadFile(s.path(d.Files[3].Path))
	require.NoError(t, err)
	b[7] ^= 1
	require.NoError(t, os.WriteFile(s.path(d.Files[3].Path), b, 0o600))
	s.run(t, func() bool { return len(s.drafts.left()) == 0 })
	m := s.manifest(t, s.chain.entries()[0])
	require.Len(t, m.Files, 3)
	require.Len(t, m.Flaws, 3)
	assert.Contains(t, m.Flaws[1], "still-approach.jpg: the file (SHA-256 "+d.Files[1].SHA256+") was gone")
	assert.Contains(t, m.Flaws[2], "clip.mp4: the file was changed")
	for _, f := range m.Files {
		assert.NotEqual(t, "clip.mp4", f.Name, "a changed file is not sealed as if it were fine")
	}
}

func TestWaitsForEventAndStore(t *testing.T) {
	t.Parallel()
	s := newSeals(t)
	late, odd, unready, good := s.add(t, 1), s.draft(t, 2), s.draft(t, 3), s.add(t, 4)
	s.chain.known[late.Event.ID] = false
	odd.Record = json.RawMessage(`["no object"]`)
	unready.Ready = false
	for _, d := range []evidence.Draft{odd, unready} {
		s.chain.known[d.Event.ID] = true
		s.drafts.put(t, d)
	}
	times := 0
	s.chain.fault = func(string) error {
		if times++; times == 1 {
			return events.ErrUnavailable
		}
		return nil
	}
	s.run(t, func() bool { return len(s.chain.entries()) == 1 && len(s.drafts.left()) == 3 })
	assert.Equal(t, good.Event.ID, s.chain.entries()[0].EventID, "an event that is not stored and one that is too odd hold up no other")
	assert.Equal(t, 2, times, "the store was asked again")

	s.chain.mu.Lock()
	s.chain.known[late.Event.ID] = true
	s.chain.mu.Unlock()
	s.clock = s.clock.Add(time.Hour)
	s.run(t, func() bool { return len(s.drafts.left()) == 1 })
	assert.Equal(t, []string{odd.Event.ID}, s.drafts.left(), "put aside, not thrown away")
	m := s.manifest(t, s.chain.entries()[2])
	assert.Equal(t, unready.Event.ID, m.EventID())
	assert.Contains(t, m.Flaws[1], "was not complete after 1h")
}

// TestCrashBetweenFileAndCommit loses the commit, or only its answer.
func TestCrashBetweenFileAndCommit(t *testing.T) {
	t.Parallel()
	s := newSeals(t)
	first, second := s.add(t, 1), s.add(t, 2)
	crash := errors.New("the process was killed")
	s.chain.fault = func(string) error { return crash }
	s.run(t, func() bool {
		_, err := os.Stat(s.path("2026/11/23/" + second.Event.ID + ".manifest.json"))
		return err == nil
	})
	require.Empty(t, s.chain.entries())
	require.FileExists(t, s.path("2026/11/23/"+first.Event.ID+".manifest.json"), "left by the crash")

	s.chain.fault = nil
	s.drafts.err = errors.New("killed before the draft was removed")
	s.clock = s.clock.Add(time.Minute)
	s.run(t, func() bool { return len(s.chain.entries()) > 0 })
	s.drafts.err = nil
	s.run(t, func() bool { return len(s.drafts.left()) == 0 })
	entries := s.chain.entries()
	require.Len(t, entries, 2, "no gap, none twice")
	for i, e := range entries {
		m := s.manifest(t, e)
		assert.Equal(t, int64(i+1), m.Number)
		assert.True(t, s.clock.Equal(m.SealedAt), "the file is that of the commit")
	}
}

func TestManifestHasOneReading(t *testing.T) {
	t.Parallel()
	s := newSeals(t)
	s.add(t, 1)
	s.run(t, func() bool { return len(s.drafts.left()) == 0 })
	b, err := os.ReadFile(s.path(s.chain.entries()[0].Path))
	require.NoError(t, err)
	for name, change := range map[string]func(string) string{
		"trailing text":  func(s string) string { return s + "\n" },
		"spaces":         func(s string) string { return strings.Replace(s, `"number":1`, `"number": 1`, 1) },
		"other case":     func(s string) string { return strings.Replace(s, `"number":1`, `"Number":1`, 1) },
		"twice":          func(s string) string { return strings.Replace(s, `"number":1,`, `"number":2,`+"\n"+`"number":1,`, 1) },
		"unknown":        func(s string) string { return strings.Replace(s, `"number":1,`, `"x":2,`+"\n"+`"number":1,`, 1) },
		"escape":         func(s string) string { return strings.Replace(s, `"software":"x`, `"software":"\u0078`, 1) },
		"path in a name": func(s string) string { return strings.Replace(s, `"name":"clip.mp4"`, `"name":"../clip.mp4"`, 1) },
		"reserved name":  func(s string) string { return strings.Replace(s, `"name":"clip.mp4"`, `"name":"export.json"`, 1) },
		"name twice":     func(s string) string { return strings.Replace(s, `"name":"clip.mp4"`, `"name":"snapshot.jpg"`, 1) },
		"format":         func(s string) string { return strings.Replace(s, "xacam-evidence/1", "xacam-evidence/2", 1) },
		"number":         func(s string) string { return strings.Replace(s, `"number":1`, `"number":7`, 1) },
	} {
		changed := change(string(b))
		require.NotEqual(t, string(b), changed, name)
		_, err := evidence.ParseManifest([]byte(changed))
		require.Error(t, err, name)
	}
	_, err = evidence.ParseManifest(b)
	require.NoError(t, err)
}
