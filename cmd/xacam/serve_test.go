//go:build cgo

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image/jpeg"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/streams/streamtest"
)

// testCamera is a camera file with an intrusion rule over the whole picture.
func testCamera(slug, url, model, severity string) string {
	return fmt.Sprintf(`---
camera: %[1]s
name: Camera %[1]s
url: %[2]s
detect: {fps: 10, model: %[3]s}
zones: {all: {area: [[0.02,0.02],[0.98,0.02],[0.98,0.98],[0.02,0.98]]}}
rules:
  - {name: people, kind: intrusion, zone: all, classes: [person], severity: %[4]s, after: 0.3}
`, slug, url, model, severity)
}

// simulated serves cameras a and b behind a user name and a password.
func simulated(t *testing.T) (cams *sim.Server, address func(name string) string) {
	t.Helper()
	cams = streamtest.Serve(t, sim.Config{
		Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264, "b": streamtest.H265}),
		User:    "admin", Password: password,
	})
	return cams, func(name string) string { return "rtsp://admin:" + password + "@" + cams.Addr() + "/" + name }
}

// TestServe follows an event from the camera to the screen, and the
// configuration through its changes, in one running server.
func TestServe(t *testing.T) {
	t.Parallel()
	cams, address := simulated(t)
	db, people := newTestDatabase(t), newScripted("at-a", "at-b")
	s := serve(t, db, people)
	<-s.db.Ready()
	live := s.subscribe(t)
	require.Empty(t, s.cameras(t))

	// Cameras appear while the server runs.
	fileA, fileB := testCamera("a", address("a"), "at-a", "medium"), testCamera("b", address("b"), "at-b", "info")
	assert.Equal(t, "a: added, version 1\n", apply(t, db, fileA))
	s.online(t, "a")
	apply(t, db, fileB)
	s.online(t, "b")
	require.Len(t, s.cameras(t), 2)

	// An event: live, in the list, by itself, with its picture.
	before := time.Now()
	people.enter("at-a")
	raised := live.wait(t, 5*time.Second, "a", "intrusion", 1)
	assert.Equal(t, events.StateRaised, raised.State)
	assert.Equal(t, events.SeverityMedium, raised.Severity)
	assert.Equal(t, "person", raised.Subject.Class)
	assert.Equal(t, 1, raised.Rule.Version)
	occurred, err := time.Parse(time.RFC3339Nano, raised.OccurredAt)
	require.NoError(t, err)
	assert.WithinRange(t, occurred, before.Add(-time.Second), time.Now())
	list := s.events(t, "")
	require.Len(t, list, 1)
	assert.Equal(t, raised, list[0])
	checkSnapshot(t, s, raised.ID, raised.Evidence[0].SHA256)

	people.leave("at-a")
	cleared := live.wait(t, 10*time.Second, "a", "intrusion", 2)
	assert.Equal(t, events.StateCleared, cleared.State)
	assert.Equal(t, raised.ID, cleared.ID)
	assert.Greater(t, cleared.Sequence, raised.Sequence)
	assert.Equal(t, events.StateCleared, s.events(t, "")[0].State)
	checkSnapshot(t, s, raised.ID, raised.Evidence[0].SHA256)

	// A changed rule: that camera reloads, the other's session is not touched.
	sessionB, decodedB := s.cameras(t)["b"], s.manager.deps.metrics.Counts("b").Decoded
	fileA = testCamera("a", address("a"), "at-a", "high")
	assert.Equal(t, "a: changed, version 2\nb: unchanged, version 1\n", apply(t, db, fileA+fileB))
	people.enter("at-a")
	raised = live.wait(t, 15*time.Second, "a", "intrusion", 3)
	assert.Equal(t, events.SeverityHigh, raised.Severity)
	assert.Equal(t, 2, raised.Rule.Version)
	nowB := s.cameras(t)["b"]
	assert.Equal(t, sessionB.Since, nowB.Since, "the same session as before")
	assert.Zero(t, nowB.Retries)
	assert.Equal(t, 1, cams.Stream("b").Readers())
	assert.Greater(t, s.manager.deps.metrics.Counts("b").Decoded, decodedB)
	assert.Empty(t, live.find("a", "camera_offline"), "a reload is no loss")

	// A deleted camera: its open event ends, the other goes on.
	assert.Equal(t, "b: unchanged, version 1\na: deleted\n", apply(t, db, fileB, "--prune"))
	cleared = live.wait(t, 10*time.Second, "a", "intrusion", 4)
	assert.Equal(t, events.StateCleared, cleared.State)
	assert.Equal(t, raised.ID, cleared.ID)
	within(t, 5*time.Second, "camera a is gone", func() bool { return len(s.cameras(t)) == 1 && cams.Stream("a").Readers() == 0 })
	assert.Equal(t, sessionB.Since, s.cameras(t)["b"].Since)
	assert.Empty(t, s.events(t, "state=raised"))
	checkSnapshot(t, s, raised.ID, raised.Evidence[0].SHA256)
}

// checkSnapshot gets an event's picture: it decodes and has the camera's size.
func checkSnapshot(t *testing.T, s *serving, id, sum string) {
	t.Helper()
	body, h := s.get(t, "/api/v1/events/"+id+"/snapshot")
	assert.Equal(t, "image/jpeg", h.Get("Content-Type"))
	picture, err := jpeg.Decode(bytes.NewReader(body))
	require.NoError(t, err)
	assert.Equal(t, 320, picture.Bounds().Dx())
	assert.Equal(t, 240, picture.Bounds().Dy())
	got := sha256.Sum256(body)
	assert.Equal(t, sum, hex.EncodeToString(got[:]))
}

// TestCameraLost: the loss of one camera is an event within 10 s, its return
// clears it, and the other camera notices nothing.
func TestCameraLost(t *testing.T) {
	t.Parallel()
	cfg := sim.Config{Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264})}
	lost := streamtest.Serve(t, cfg)
	cfg.Listen = lost.Addr()
	_, address := simulated(t)
	db, people := newTestDatabase(t), newScripted("at-a", "at-b")
	s := serve(t, db, people)
	<-s.db.Ready()
	live := s.subscribe(t)
	apply(t, db, testCamera("a", lost.URL("a"), "at-a", "medium")+testCamera("b", address("b"), "at-b", "info"))
	s.online(t, "a", "b")
	people.enter("at-a")
	open := live.wait(t, 5*time.Second, "a", "intrusion", 1)

	sessionB, decodedB, start := s.cameras(t)["b"].Since, s.manager.deps.metrics.Counts("b").Decoded, time.Now()
	lost.Kill()
	raised := live.wait(t, 10*time.Second, "a", "camera_offline", 1)
	assert.Equal(t, events.StateRaised, raised.State)
	assert.Equal(t, events.SeverityHigh, raised.Severity)
	assert.Contains(t, raised.Why.VI, "Camera a")
	within(t, 5*time.Second, "the reason is told", func() bool {
		h := s.cameras(t)["a"]
		return h.State == "offline" && h.LastError != nil
	})

	// As long away as to reach the longest wait between two attempts.
	time.Sleep(4 * time.Second)
	looked := s.manager.deps.metrics.Counts("a").Looked
	back := time.Now()
	streamtest.Serve(t, cfg)
	within(t, 5*time.Second, "frames of the camera are looked at again", func() bool {
		return s.manager.deps.metrics.Counts("a").Looked > looked
	})
	cleared := live.wait(t, 5*time.Second-min(time.Since(back), 4*time.Second), "a", "camera_offline", 2)
	assert.Equal(t, events.StateCleared, cleared.State)
	assert.Equal(t, raised.ID, cleared.ID)

	decoded := float64(s.manager.deps.metrics.Counts("b").Decoded - decodedB)
	assert.InDelta(t, 25, decoded/time.Since(start).Seconds(), 2.5, "frames a second of the other camera meanwhile")
	assert.Equal(t, sessionB, s.cameras(t)["b"].Since)
	assert.Empty(t, live.find("b", "camera_offline"))

	// The person is still there: nobody could see otherwise meanwhile.
	time.Sleep(time.Second)
	changes := live.find("a", "intrusion")
	require.Len(t, changes, 1)
	people.leave("at-a")
	assert.Equal(t, open.ID, live.wait(t, 10*time.Second, "a", "intrusion", 2).ID)
}

// TestRestart: an event that was open at the end goes on after the start, or is
// cleared when its cause is gone.
func TestRestart(t *testing.T) {
	t.Parallel()
	_, address := simulated(t)
	db, people := newTestDatabase(t), newScripted("at-a", "at-b")
	s := serve(t, db, people)
	<-s.db.Ready()
	live := s.subscribe(t)
	apply(t, db, testCamera("a", address("a"), "at-a", "medium")+testCamera("b", address("b"), "at-b", "info"))
	s.online(t, "a", "b")
	people.enter("at-a")
	people.enter("at-b")
	stays, leaves := live.wait(t, 5*time.Second, "a", "intrusion", 1), live.wait(t, 5*time.Second, "b", "intrusion", 1)
	s.stop()
	people.leave("at-b")

	s = serve(t, db, people)
	<-s.db.Ready()
	live = s.subscribe(t)
	s.online(t, "a", "b")
	cleared := live.wait(t, 10*time.Second, "b", "intrusion", 1)
	assert.Equal(t, leaves.ID, cleared.ID)
	assert.Equal(t, events.StateCleared, cleared.State)
	all := s.events(t, "kind=intrusion")
	require.Len(t, all, 2, "nothing was raised twice")
	open := s.events(t, "kind=intrusion&state=raised")
	require.Len(t, open, 1)
	stays.Sequence, stays.Evidence = open[0].Sequence, open[0].Evidence // its package may have been sealed
	assert.Equal(t, stays, open[0], "it goes on as it was")

	people.leave("at-a")
	assert.Equal(t, stays.ID, live.wait(t, 10*time.Second, "a", "intrusion", 1).ID)
	require.Len(t, s.events(t, "kind=intrusion"), 2)
	require.Empty(t, s.events(t, "kind=camera_offline"))
}

// TestBadCamerasInServer: each fault of a camera or model stands in its health
// as a sentence, and harms no other camera.
func TestBadCamerasInServer(t *testing.T) {
	t.Parallel()
	useRuntime(t)
	_, address := simulated(t)
	db := newTestDatabase(t)
	addToy(t, db.data, "toy", "toy.onnx", "")
	addToy(t, db.data, "corrupt", "toy_corrupt.onnx", "")
	addToy(t, db.data, "damaged", "toy.onnx", "00c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b")
	s := serve(t, db, nil)
	<-s.db.Ready()
	cams := badCameras(t)
	var file strings.Builder
	for name, c := range cams {
		file.WriteString(testCamera(name, c.url, "toy", "low"))
	}
	models := map[string]string{
		"yolox-nano": "xacam models pull yolox-nano", "corrupt": "not a usable model", "damaged": "sha256", "yolo99": "unknown model",
	}
	for model := range models {
		file.WriteString(testCamera("model-"+model, address("a"), model, "low"))
	}
	apply(t, db, file.String()+testCamera("good", address("b"), "toy", "low"))
	s.online(t, "good")
	within(t, 15*time.Second, "every fault is told", func() bool {
		all := s.cameras(t)
		for name := range cams {
			if all[name].LastError == nil {
				return false
			}
		}
		for model := range models {
			if all["model-"+model].State != "online" {
				return false
			}
		}
		return true
	})
	all := s.cameras(t)
	for name, c := range cams {
		require.Contains(t, *all[name].LastError, c.says, name)
		assert.NotEqual(t, "online", all[name].State)
	}
	for model, says := range models {
		h := all["model-"+model]
		assert.Contains(t, *h.LastError, says, model)
		assert.Empty(t, h.Model)
		assert.Equal(t, 320, h.Width, "its pictures are there all the same")
	}
	assert.Equal(t, "toy", all["good"].Model)
	assert.Nil(t, all["good"].LastError)
	for name := range cams {
		within(t, 12*time.Second, name+" is reported", func() bool { return len(s.events(t, "kind=camera_offline&camera="+name)) == 1 })
	}
}
