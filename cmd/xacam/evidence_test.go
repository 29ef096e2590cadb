//go:build cgo

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/streams/streamtest"
)

// packages collects finished evidence packages.
type packages struct {
	mu  sync.Mutex
	all map[string]evidence.Draft // by source and kind, in order of arrival behind a number
}

func (p *packages) hear(s *server) {
	s.evidence.finished = func(d *evidence.Draft) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.all == nil {
			p.all = make(map[string]evidence.Draft)
		}
		p.all[d.Event.ID] = *d
	}
}

func (p *packages) get(id string) (evidence.Draft, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ok := p.all[id]
	return d, ok
}

func (p *packages) wait(t *testing.T, limit time.Duration, id string) evidence.Draft {
	t.Helper()
	within(t, limit, "the package of "+id, func() bool {
		_, ok := p.get(id)
		return ok
	})
	d, _ := p.get(id)
	return d
}

// evidenceFile returns the file of a package whose name ends so.
func evidenceFile(t *testing.T, s *serving, d *evidence.Draft, typ, suffix string) (full string, ref events.EvidenceRef) {
	t.Helper()
	for _, f := range d.Files {
		if f.Type == typ && strings.HasSuffix(f.Path, suffix) {
			again, err := s.evidence.store.Ref(typ, f.Path)
			require.NoError(t, err)
			require.Equal(t, f, again, "the reference is that of the file")
			return s.evidence.store.Full(f.Path), f
		}
	}
	require.Fail(t, "missing", "no %s %s in %v", typ, suffix, d.Files)
	return "", ref
}

// pictureTimes returns when the pictures of a clip are shown, in seconds, after
// decoding all of them without an error.
func pictureTimes(t *testing.T, path string) []float64 {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-xerror", "-i", path, "-f", "null", "-")
	cmd.Stderr = &errs
	require.NoError(t, cmd.Run(), errs.String())
	require.Empty(t, errs.String())
	cmd = exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0", path)
	cmd.Stdout = &out
	require.NoError(t, cmd.Run())
	var times []float64
	for line := range strings.Lines(out.String()) {
		v, err := strconv.ParseFloat(strings.Trim(strings.TrimSpace(line), ","), 64)
		require.NoError(t, err, line)
		times = append(times, v)
	}
	return times
}

func imageSize(t *testing.T, path string) [2]int {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	c, err := jpeg.DecodeConfig(f)
	require.NoError(t, err)
	return [2]int{c.Width, c.Height}
}

func withEvidence(t *testing.T, db testDatabase, yaml string) testDatabase {
	t.Helper()
	b, err := os.ReadFile(db.config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(db.config, append(b, yaml...), 0o600))
	return db
}

func recordIn(t *testing.T, d *evidence.Draft) record {
	t.Helper()
	var r record
	require.NoError(t, json.Unmarshal(d.Record, &r))
	return r
}

// checkClip holds a clip to what its record says: it plays, and has the event.
func checkClip(t *testing.T, s *serving, d *evidence.Draft, before, after time.Duration) {
	t.Helper()
	path, _ := evidenceFile(t, s, d, "clip", ".mp4")
	rec := recordIn(t, d)
	times := pictureTimes(t, path)
	span := rec.Clip.End.Sub(rec.Clip.Start)
	assert.InDelta(t, span.Seconds()*25, float64(len(times)-1), 3, "25 pictures a second, none missing")
	assert.InDelta(t, float64(rec.Clip.EventMS), d.Event.OccurredAt.Sub(rec.Clip.Start).Seconds()*1e3, 2)
	assert.GreaterOrEqual(t, d.Event.OccurredAt.Sub(rec.Clip.Start), before-50*time.Millisecond)
	assert.LessOrEqual(t, d.Event.OccurredAt.Sub(rec.Clip.Start), before+1100*time.Millisecond, "at most a group more")
	assert.InDelta(t, after.Seconds(), rec.Clip.End.Sub(d.Event.OccurredAt).Seconds(), .5)
	t.Logf("%s: clip of %.2f s, event at %d ms, flaws %v, files %d", d.Event.Source.ID, span.Seconds(), rec.Clip.EventMS, d.Flaws, len(d.Files))
}

// Events on three cameras, of both codecs and with B-frames, give whole packages
// while the events are long in the store.
func TestEvidencePackages(t *testing.T) {
	t.Parallel()
	cams := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{
		"a": streamtest.H264B, "b": streamtest.H265, "c": streamtest.H264,
	})})
	db, people := newTestDatabase(t), newScripted("m")
	var got packages
	s := serve(t, db, people, got.hear)
	<-s.db.Ready()
	two := testCamera("c", cams.URL("c"), "m", "low") +
		"  - {name: again, kind: intrusion, zone: all, classes: [person], severity: high, after: 1.5}\n"
	apply(t, db, testCamera("a", cams.URL("a"), "m", "medium")+testCamera("b", cams.URL("b"), "m", "high")+two)
	s.online(t, "a", "b", "c")
	live := s.subscribe(t)
	time.Sleep(7 * time.Second)
	people.enter("m")
	time.Sleep(3 * time.Second)
	people.leave("m")
	for _, slug := range []string{"a", "b"} {
		raised := live.wait(t, 10*time.Second, slug, "intrusion", 1)
		cleared := live.wait(t, 10*time.Second, slug, "intrusion", 2)
		d := got.wait(t, 30*time.Second, raised.ID)
		require.True(t, d.Ready)
		require.Empty(t, d.Flaws)
		end, err := time.Parse(time.RFC3339Nano, *cleared.ClearedAt)
		require.NoError(t, err)
		checkClip(t, s, &d, 5*time.Second, end.Add(10*time.Second).Sub(d.Event.OccurredAt))
		for _, name := range []string{"approach", "act"} {
			path, _ := evidenceFile(t, s, &d, "still", "-"+name+".jpg")
			assert.Equal(t, [2]int{320, 240}, imageSize(t, path), name)
		}
		path, _ := evidenceFile(t, s, &d, "still", "-detail.jpg")
		size := imageSize(t, path)
		assert.InDelta(t, 320*.2*1.5, float64(size[0]), 4)
		assert.InDelta(t, 240*.5*1.5, float64(size[1]), 16)
		path, _ = evidenceFile(t, s, &d, "annotated", ".jpg")
		assert.Equal(t, [2]int{320, 240}, imageSize(t, path))
		evidenceFile(t, s, &d, "snapshot", ".jpg")
		checkTrack(t, s, &d)
		checkRecord(t, s, &d)
		checkSnapshot(t, s, raised.ID, raised.Evidence[0].SHA256)
	}
	first, second := live.wait(t, 10*time.Second, "c", "intrusion", 1), live.wait(t, 10*time.Second, "c", "intrusion", 2)
	d1, d2 := got.wait(t, 30*time.Second, first.ID), got.wait(t, 30*time.Second, second.ID)
	require.NotEqual(t, first.ID, second.ID)
	_, ref1 := evidenceFile(t, s, &d1, "clip", ".mp4")
	_, ref2 := evidenceFile(t, s, &d2, "clip", ".mp4")
	assert.Equal(t, ref1, ref2, "events that overlap share their clip")
	assert.Greater(t, recordIn(t, &d2).Clip.EventMS, recordIn(t, &d1).Clip.EventMS+800)
	assert.True(t, recordIn(t, &d2).Clip.Shared)
}

func checkTrack(t *testing.T, s *serving, d *evidence.Draft) {
	t.Helper()
	path, _ := evidenceFile(t, s, d, "track", "-track.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var f evidenceTrack
	require.NoError(t, json.Unmarshal(b, &f))
	require.Len(t, f.Objects, 1)
	o := f.Objects[0]
	assert.Equal(t, "subject", o.Role)
	assert.Equal(t, "person", o.Class)
	assert.Equal(t, d.Event.Subject.Track, o.ID)
	assert.Greater(t, len(o.Points), 15)
	assert.True(t, o.Points[0].At.Before(d.Event.OccurredAt))
	assert.True(t, o.Points[len(o.Points)-1].At.After(d.Event.OccurredAt.Add(time.Second)))
	assert.InDelta(t, .4, o.Points[5].Box[0], .02)
}

func checkRecord(t *testing.T, s *serving, d *evidence.Draft) {
	t.Helper()
	path, _ := evidenceFile(t, s, d, "record", "-record.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var r record
	require.NoError(t, json.Unmarshal(b, &r))
	assert.Equal(t, d.Event.ID, r.Event)
	require.NotNil(t, r.Rule)
	assert.Equal(t, 1, r.Rule.Version)
	assert.Equal(t, "people", r.Rule.Rule.Name)
	require.NotNil(t, r.Rule.Zone)
	assert.Len(t, r.Rule.Zone.Area, 4)
	assert.Equal(t, "m", r.Model.Name)
	assert.InDelta(t, .35, r.Model.MinScore, 1e-9)
	assert.Equal(t, version, r.Software.Version)
	assert.Contains(t, []string{"rtcp", "arrival"}, r.Clock.Source)
	assert.Equal(t, "Camera "+d.Event.Source.ID, r.Camera.Name)
	assert.Equal(t, 320, r.Camera.Width)
	assert.Equal(t, d.Event.ID, r.Event)
}

// An event that lasts has a longer clip, up to the limit; one that comes before
// the ring is full has a shorter one, and says so.
func TestEvidenceLongAndShort(t *testing.T) {
	t.Parallel()
	cams := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264, "b": streamtest.H264})})
	db, people := withEvidence(t, newTestDatabase(t), "evidence: {before: 8s, after: 2s, max: 5s}\n"), newScripted("m")
	var got packages
	s := serve(t, db, people, got.hear)
	<-s.db.Ready()
	apply(t, db, testCamera("a", cams.URL("a"), "m", "medium"))
	s.online(t, "a")
	live := s.subscribe(t)
	people.enter("m")
	raised := live.wait(t, 10*time.Second, "a", "intrusion", 1)
	d := got.wait(t, 20*time.Second, raised.ID)
	rec := recordIn(t, &d)
	assert.InDelta(t, 7, rec.Clip.End.Sub(d.Event.OccurredAt).Seconds(), .5, "max and after")
	assert.Less(t, rec.Clip.EventMS, int64(6000))
	require.Len(t, d.Flaws, 1+strings.Count(strings.Join(d.Flaws, ";"), "approach"))
	assert.Contains(t, strings.Join(d.Flaws, ";"), "begins")
	path, _ := evidenceFile(t, s, &d, "clip", ".mp4")
	assert.Greater(t, len(pictureTimes(t, path)), 150)

	// The stream goes: what it sent last is kept with the event that says so.
	people.leave("m")
	live.wait(t, 10*time.Second, "a", "intrusion", 2)
	cams.Stream("a").Stall(true)
	lost := live.wait(t, 20*time.Second, "a", "camera_offline", 1)
	d = got.wait(t, 20*time.Second, lost.ID)
	path, _ = evidenceFile(t, s, &d, "clip", ".mp4")
	rec = recordIn(t, &d)
	assert.GreaterOrEqual(t, rec.Clip.End.Sub(rec.Clip.Start), 8*time.Second)
	assert.True(t, rec.Clip.End.Before(d.Event.OccurredAt))
	require.NotEmpty(t, pictureTimes(t, path))
}

// A disk that cannot be written costs the package its files, never the event; a
// server that was killed finishes what it had begun at its next start.
func TestEvidenceWithoutDiskAndAfterRestart(t *testing.T) {
	t.Parallel()
	cams := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264})})
	db, people := newTestDatabase(t), newScripted("m")
	var got packages
	s := serve(t, db, people, got.hear)
	<-s.db.Ready()
	apply(t, db, testCamera("a", cams.URL("a"), "m", "medium"))
	s.online(t, "a")
	live := s.subscribe(t)
	day := filepath.Join(s.cfg.Data, "media", time.Now().UTC().Format("2006"))
	require.NoError(t, os.RemoveAll(day))
	require.NoError(t, os.WriteFile(day, nil, 0o600)) // a file where the folder should be
	people.enter("m")
	raised := live.wait(t, 10*time.Second, "a", "intrusion", 1)
	require.Empty(t, raised.Evidence)
	people.leave("m")
	live.wait(t, 10*time.Second, "a", "intrusion", 2)
	d := got.wait(t, 20*time.Second, raised.ID)
	require.True(t, d.Ready)
	assert.Contains(t, d.Flaws, "the clip could not be stored")
	assert.Contains(t, d.Flaws, "the snapshot could not be stored")
	require.NoError(t, os.Remove(day))

	// Half a package, as a kill leaves it.
	people.enter("m")
	raised = live.wait(t, 10*time.Second, "a", "intrusion", 3)
	var open evidence.Draft
	within(t, 15*time.Second, "some of the clip is on disk", func() bool {
		list, err := s.evidence.store.Drafts(t.Context())
		require.NoError(t, err)
		for _, d := range list {
			if d.Event.ID == raised.ID && d.Clip != "" {
				open = d
				st, err := os.Stat(s.evidence.store.Full(d.Clip) + ".part")
				return err == nil && st.Size() > 30_000
			}
		}
		return false
	})
	copied := filepath.Join(t.TempDir(), "data")
	out, err := exec.CommandContext(t.Context(), "cp", "-r", s.cfg.Data, copied).CombinedOutput()
	require.NoError(t, err, string(out))
	store, err := evidence.Open(filepath.Join(copied, "media"))
	require.NoError(t, err)
	n, err := recoverDrafts(t.Context(), store)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	list, err := store.Drafts(t.Context())
	require.NoError(t, err)
	for _, d := range list {
		if d.Event.ID != raised.ID {
			continue
		}
		assert.True(t, d.Ready)
		assert.Contains(t, d.Flaws, restarted)
		var types []string
		for _, f := range d.Files {
			types = append(types, f.Type)
			if f.Type == "clip" {
				assert.NotEmpty(t, pictureTimes(t, store.Full(f.Path)))
				assert.Equal(t, open.Clip, f.Path)
			}
		}
		assert.Subset(t, types, []string{"snapshot", "clip", "record"}, fmt.Sprint(d.Files))
		return
	}
	require.Fail(t, "the draft is gone")
}
