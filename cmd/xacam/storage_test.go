//go:build cgo

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

// TestFullMediaDisk: with a disk that takes no picture, and one that is
// read-only, events go on without pictures, an alarm says so, and all is well
// again by itself.
func TestFullMediaDisk(t *testing.T) {
	t.Parallel()
	_, address := simulated(t)
	db := newTestDatabase(t)
	dir := mediaDir(db.data)
	require.NoError(t, os.MkdirAll(dir, 0o750))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a small disk can be mounted by root only: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	filler := filepath.Join(dir, "others.bin")
	fill(t, filler)

	people := newScripted("at-a")
	db = withEvidence(t, db, "evidence: {before: 0s, after: 1s, max: 0s}\n")
	s := serve(t, db, people)
	<-s.db.Ready()
	apply(t, db, testCamera("a", address("a"), "at-a", "high"))
	s.online(t, "a")
	within(t, 20*time.Second, "the full disk is told", func() bool {
		return len(s.events(t, "kind=storage_low&state=raised")) == 1
	})
	people.enter("at-a")
	within(t, 15*time.Second, "an event without a picture", func() bool { return len(s.events(t, "kind=intrusion")) == 1 })
	assert.Empty(t, s.events(t, "kind=intrusion")[0].Evidence)
	people.leave("at-a")
	within(t, 15*time.Second, "its end", func() bool { return len(s.events(t, "kind=intrusion&state=cleared")) == 1 })

	require.NoError(t, os.Remove(filler))
	within(t, 20*time.Second, "the disk has room again", func() bool {
		return len(s.events(t, "kind=storage_low&state=cleared")) == 1
	})
	people.enter("at-a")
	within(t, 15*time.Second, "an event with a picture", func() bool {
		all := s.events(t, "kind=intrusion")
		return len(all) == 2 && len(all[0].Evidence) > 0
	})

	within(t, 20*time.Second, "a whole package", func() bool { // nothing is open for writing then
		_, manifest := s.filesOf(t, s.events(t, "kind=intrusion")[0].ID)["manifest"]
		return manifest
	})
	within(t, 10*time.Second, "a read-only disk", func() bool {
		return syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "") == nil
	})
	within(t, 20*time.Second, "the read-only disk is told", func() bool {
		return len(s.events(t, "kind=storage_low&state=raised")) == 1
	})
	people.leave("at-a")
	within(t, 15*time.Second, "ends are stored all the same", func() bool { return len(s.events(t, "kind=intrusion&state=cleared")) == 2 })
	s.stop()
	s = serve(t, db, people) // a read-only disk is no reason not to start
	<-s.db.Ready()
	within(t, 30*time.Second, "the alarm of before goes on", func() bool {
		all := s.events(t, "kind=storage_low")
		return len(all) == 2 && all[0].State == events.StateRaised
	})
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""))
	within(t, 20*time.Second, "the disk is writable again", func() bool {
		return len(s.events(t, "kind=storage_low&state=cleared")) == 2
	})
}

// firstPackage waits until the package of the only intrusion is whole, and returns
// its event.
func (s *serving) firstPackage(t *testing.T) string {
	t.Helper()
	within(t, 30*time.Second, "a whole package", func() bool {
		all := s.events(t, "kind=intrusion")
		return len(all) == 1 && s.filesOf(t, all[0].ID)["manifest"].Path != ""
	})
	return s.events(t, "kind=intrusion")[0].ID
}

// TestFsckMediaDiskAway: with an empty folder in the place of the media disk
// nothing is taken for gone and nothing written; an alarm says so, events go on
// without pictures, also after a restart, and all is well again by itself.
func TestFsckMediaDiskAway(t *testing.T) {
	t.Parallel()
	_, address := simulated(t)
	db := newTestDatabase(t)
	dir := mediaDir(db.data)
	people := newScripted("at-a")
	db = withEvidence(t, db, "evidence: {before: 0s, after: 1s, max: 0s}\n")
	s := serve(t, db, people)
	<-s.db.Ready()
	apply(t, db, testCamera("a", address("a"), "at-a", "high"))
	s.online(t, "a")
	people.enter("at-a")
	first := s.firstPackage(t)
	people.leave("at-a")
	within(t, 15*time.Second, "its end", func() bool { return len(s.events(t, "kind=intrusion&state=cleared")) == 1 })
	s.stop()

	require.NoError(t, os.Rename(dir, dir+".away"))
	require.NoError(t, os.Mkdir(dir, 0o750))
	r := xacam(t, "fsck", "-c", db.config, "--repair", "--force")
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, "the media disk is not mounted, or it is another one")
	assert.Contains(t, r.stderr, "mount it and try again")
	r = xacam(t, "evidence", "verify", "--all", "-c", db.config)
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, "the media disk is not mounted")

	s = serve(t, db, people)
	<-s.db.Ready()
	s.online(t, "a")
	within(t, 30*time.Second, "the alarm", func() bool { return len(s.events(t, "kind=storage_low&state=raised")) == 1 })
	assert.Contains(t, s.events(t, "kind=storage_low")[0].Why.VI, "chưa được gắn")
	people.enter("at-a")
	within(t, 15*time.Second, "an event without a picture", func() bool { return len(s.events(t, "kind=intrusion")) == 2 })
	assert.Empty(t, s.events(t, "kind=intrusion")[0].Evidence)
	assert.Equal(t, http.StatusServiceUnavailable, s.status(t, "/api/v1/events/"+first+"/snapshot"), "nobody can say whether it is there")
	people.leave("at-a")
	within(t, 15*time.Second, "its end", func() bool { return len(s.events(t, "kind=intrusion&state=cleared")) == 2 })
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left, "nothing was written below the mount point")

	require.NoError(t, os.Remove(dir))
	require.NoError(t, os.Rename(dir+".away", dir))
	within(t, 20*time.Second, "the disk is back", func() bool { return len(s.events(t, "kind=storage_low&state=cleared")) == 1 })
	assert.Equal(t, http.StatusOK, s.status(t, "/api/v1/events/"+first+"/snapshot"), "without a restart")
	people.enter("at-a")
	within(t, 15*time.Second, "an event with a picture", func() bool {
		all := s.events(t, "kind=intrusion")
		return len(all) == 3 && len(all[0].Evidence) > 0
	})
	within(t, 45*time.Second, "every package is sealed", func() bool {
		head, err := s.store.ManifestHead(t.Context())
		return err == nil && head.Number == 3
	})
	s.stop()
	r = xacam(t, "fsck", "-c", db.config, "--hash")
	assert.Equal(t, exitOK, r.code, r.stdout+r.stderr)

	require.NoError(t, os.Rename(dir, dir+".away"))
	before, err := os.ReadFile(markFile(db.data))
	require.NoError(t, err)
	r = xacam(t, "fsck", "-c", db.config, "--new-disk")
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, "Nothing was changed. Mount the disk first")
	after, err := os.ReadFile(markFile(db.data))
	require.NoError(t, err)
	assert.Equal(t, before, after)
	r = xacam(t, "fsck", "-c", db.config, "--new-disk", "--force")
	assert.Contains(t, r.stdout, "missing: ")
	r = xacam(t, "fsck", "-c", db.config, "--repair", "--force")
	require.Equal(t, exitOK, r.code, r.stdout+r.stderr)
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.Rename(dir+".away", dir))
	r = xacam(t, "fsck", "-c", db.config, "--new-disk", "--repair")
	require.Equal(t, exitOK, r.code, r.stdout+r.stderr)
	assert.Contains(t, r.stdout, "returned: ")
	r = xacam(t, "evidence", "verify", "--all", "-c", db.config)
	assert.Equal(t, exitOK, r.code, r.stdout+r.stderr)
}

// TestFsckMarkOfAnUpgrade: the first start of a version that knows marks, while the
// disk is away, does not take the empty folder for it.
func TestFsckMarkOfAnUpgrade(t *testing.T) {
	t.Parallel()
	_, address := simulated(t)
	db := newTestDatabase(t)
	dir := mediaDir(db.data)
	people := newScripted("at-a")
	db = withEvidence(t, db, "evidence: {before: 0s, after: 1s, max: 0s}\n")
	s := serve(t, db, people)
	<-s.db.Ready()
	mark := filepath.Join(dir, ".xacam-media")
	within(t, 15*time.Second, "a mark on a new folder", func() bool { _, err := os.Stat(mark); return err == nil })
	apply(t, db, testCamera("a", address("a"), "at-a", "high"))
	s.online(t, "a")
	people.enter("at-a")
	first := s.firstPackage(t)
	s.stop()
	require.NoError(t, os.Remove(mark))
	require.NoError(t, os.Remove(markFile(db.data)))
	require.NoError(t, os.Rename(dir, dir+".away"))

	s = serve(t, db, people)
	<-s.db.Ready()
	within(t, 30*time.Second, "the alarm", func() bool { return len(s.events(t, "kind=storage_low&state=raised")) == 1 })
	why := s.events(t, "kind=storage_low")[0].Why
	assert.Contains(t, why.VI, "Trước hết hãy kiểm tra và gắn lại ổ đĩa")
	assert.Contains(t, why.EN, "First check the disk and mount it again")
	assert.NoFileExists(t, mark)
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.Rename(dir+".away", dir))
	within(t, 30*time.Second, "the disk is back", func() bool { return len(s.events(t, "kind=storage_low&state=cleared")) == 1 })
	assert.FileExists(t, mark)
	assert.Equal(t, http.StatusOK, s.status(t, "/api/v1/events/"+first+"/snapshot"))
	s.stop()
	r := xacam(t, "fsck", "-c", db.config, "--hash")
	assert.Equal(t, exitOK, r.code, r.stdout+r.stderr)
}

// status asks for a page and returns how it was answered.
func (s *serving) status(t *testing.T, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+path, http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

// filesOf returns the evidence of an event by type.
func (s *serving) filesOf(t *testing.T, id string) map[string]events.EvidenceRef {
	t.Helper()
	ev, err := s.db.Event(t.Context(), id)
	require.NoError(t, err)
	out := make(map[string]events.EvidenceRef)
	for _, f := range ev.Evidence {
		out[f.Type] = f
	}
	return out
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	for chunk := make([]byte, 4096); err == nil; {
		_, err = f.Write(chunk)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
}

func TestFsckCommand(t *testing.T) {
	t.Parallel()
	_, address := simulated(t)
	db := newTestDatabase(t)
	people := newScripted("at-a")
	s := serve(t, db, people)
	<-s.db.Ready()
	apply(t, db, testCamera("a", address("a"), "at-a", "high"))
	s.online(t, "a")
	people.enter("at-a")
	within(t, 15*time.Second, "an event with a picture", func() bool {
		all := s.events(t, "kind=intrusion")
		return len(all) == 1 && len(all[0].Evidence) > 0
	})
	ev, err := s.db.Event(t.Context(), s.events(t, "kind=intrusion")[0].ID)
	require.NoError(t, err)
	r := xacam(t, "fsck", "-c", db.config, "--repair")
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, "stopped", "a running server is left alone")
	s.stop()

	r = xacam(t, "fsck", "-c", db.config, "--hash")
	require.Equal(t, exitOK, r.code, r.stdout+r.stderr)
	require.NoError(t, os.Remove(filepath.Join(mediaDir(db.data), ev.Evidence[0].Path)))
	r = xacam(t, "fsck", "-c", db.config)
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stdout, "missing: "+ev.Evidence[0].Path+", of event "+ev.ID)
	r = xacam(t, "fsck", "-c", db.config, "--repair")
	require.Equal(t, exitOK, r.code, r.stdout+r.stderr)
	r = xacam(t, "fsck", "-c", db.config)
	require.Equal(t, exitOK, r.code, r.stdout+r.stderr)
}

func TestMediaConfig(t *testing.T) {
	t.Parallel()
	c, err := parseConfig([]byte("media: {days: 30, max_gb: 10, classes: [{name: a, kinds: [intrusion], days: 7}]}\n"))
	require.NoError(t, err)
	p := c.Media.policy()
	assert.Equal(t, 30*24*time.Hour, p.Keep)
	assert.Equal(t, int64(10e9), p.MaxBytes)
	assert.Equal(t, []events.Kind{"intrusion"}, p.Classes[0].Kinds)
	_, err = parseConfig([]byte(`media: {days: 0, max_gb: -1, min_free_gb: .nan, classes: [{days: 0}, {name: b, kinds: [nope], severities: [x], verdicts: [y], days: 1}]}`))
	for _, want := range []string{
		"media.days: ", "media.max_gb: ", "media.min_free_gb: ", "media.classes[0].name: ", "media.classes[0].days: ",
		"media.classes[0].kinds: ", `media.classes[1].kinds: "nope"`, `media.classes[1].severities: "x"`, `media.classes[1].verdicts: "y"`,
	} {
		require.ErrorContains(t, err, want)
	}
}

// TestFsckLeavesUnfinishedPackages: what a crash has left of a package, and the
// next start would finish, is neither moved away nor deleted.
func TestFsckLeavesUnfinishedPackages(t *testing.T) {
	t.Parallel()
	db := newTestDatabase(t)
	require.Equal(t, exitOK, xacam(t, "migrate", "-c", db.config).code)
	store, err := evidence.Open(mediaDir(db.data))
	require.NoError(t, err)
	at := time.Now().Add(-time.Hour)
	ev := events.Event{Kind: "intrusion", State: events.StateRaised, Source: events.Source{Type: "camera", ID: "a"}, OccurredAt: at}
	ev.ID = events.NewID(ev.Key(), at)
	base := fileBase(&ev)
	clip, full, err := store.Place(base+".mp4", at)
	require.NoError(t, err)
	still, err := store.Put("still", base+"-act.jpg", at, []byte("still"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(full+".part", []byte("half a clip"), 0o600))
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{full + ".part", store.Full(still.Path)} {
		require.NoError(t, os.Chtimes(name, old, old))
	}
	require.NoError(t, store.PutDraft(evidence.Draft{Event: ev, Record: []byte(`{}`), Clip: clip, Started: at}))

	r := xacam(t, "fsck", "-c", db.config)
	require.Equal(t, exitOK, r.code, r.stdout+r.stderr)
	require.NoError(t, os.Rename(full+".part", full))
	r = xacam(t, "fsck", "-c", db.config, "--repair")
	require.Equal(t, exitOK, r.code, r.stdout+r.stderr)
	assert.Contains(t, r.stdout, "finished 1 package")
	list, err := store.Drafts(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.True(t, list[0].Ready)
	var paths []string
	for _, f := range list[0].Files {
		paths = append(paths, f.Path)
	}
	assert.Subset(t, paths, []string{clip, still.Path})
	assert.NoDirExists(t, filepath.Join(mediaDir(db.data), "lost+found"))
}
