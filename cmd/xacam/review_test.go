package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/pipeline"
)

// heldStore is a database of cameras and open events.
type heldStore struct {
	cameras []pgstore.Camera

	mu   sync.Mutex
	open []events.Event
}

func (s *heldStore) raised() []events.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.open)
}

func (s *heldStore) Cameras(context.Context) ([]pgstore.Camera, error) { return s.cameras, nil }

func (s *heldStore) RuleVersions(context.Context, string) (map[string]int, error) {
	return map[string]int{}, nil
}

func (s *heldStore) OpenEvents(_ context.Context, source string) ([]events.Event, error) {
	return slices.DeleteFunc(s.raised(), func(ev events.Event) bool { return ev.Source.ID != source }), nil
}

func (s *heldStore) Events(_ context.Context, _ events.Filter, p events.Page) ([]events.Event, error) {
	if p.Before != "" {
		return nil, nil
	}
	return s.raised(), nil
}

type noDetectors struct{}

func (noDetectors) Detector(string) (vision.Detector, error) { return nil, errors.New("none here") }

// newTestManager returns a manager of cameras that cannot be run, what it
// submits, and how many older changes wait on disk.
func newTestManager(t *testing.T, store cameraStore) (m *manager, submitted *[]events.Change, backlog *atomic.Int64) {
	t.Helper()
	submitted, backlog = new([]events.Change), new(atomic.Int64)
	log := slog.New(slog.DiscardHandler)
	d := &deps{
		metrics: pipeline.NewMetrics(nil), rtspMetrics: rtsp.NewMetrics(nil), now: time.Now, log: log,
		record: newRecorder(nil, func(c ...events.Change) { *submitted = append(*submitted, c...) }, log),
	}
	pl := &planner{
		commune: "31615", model: "m", calendar: schedule.Calendar{Location: time.UTC},
		detectors: noDetectors{}, faulty: make(map[string]time.Time), now: time.Now,
	}
	m = newManager(store, pl, d, func() int { return int(backlog.Load()) }, filepath.Join(t.TempDir(), "cameras.json"))
	return m, submitted, backlog
}

func openEvent(kind events.Kind, slug string, at time.Time) events.Event {
	ev := events.Event{
		Kind: kind, State: events.StateRaised, Severity: events.SeverityHigh,
		Source: events.Source{Type: "camera", ID: slug}, OccurredAt: at.UTC().Truncate(time.Microsecond),
	}
	ev.ID = events.NewID(ev.Key(), ev.OccurredAt)
	return ev
}

// The raised event of the process before is still on disk when the cameras
// start: it must be cleared once it is in the database, not forgotten.
func TestOpenEventsThatWaitOnDiskAreAdopted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &heldStore{cameras: []pgstore.Camera{{Slug: "gate", Spec: []byte(`{}`), Version: 1, Enabled: true}}}
		m, submitted, backlog := newTestManager(t, store)
		backlog.Store(1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			assert.NoError(t, m.Run(ctx))
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, m.snapshot(), 1, "the camera does not wait for the disk")
		ev := openEvent("intrusion", "gate", time.Now().Add(-time.Hour))
		store.mu.Lock()
		store.open = []events.Event{ev}
		store.mu.Unlock()
		backlog.Store(0)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Len(t, *submitted, 1)
		require.Equal(t, ev.ID, (*submitted)[0].Event.ID)
		require.Equal(t, events.StateCleared, (*submitted)[0].Event.State)
		cancel()
		<-done
	})
}

// A camera that was deleted while no server ran leaves no event open.
func TestEventsOfCamerasDeletedMeanwhileAreCleared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here, gone := openEvent("intrusion", "here", time.Now()), openEvent("intrusion", "gone", time.Now())
		store := &heldStore{
			cameras: []pgstore.Camera{{Slug: "here", Spec: []byte(`{}`), Version: 1, Enabled: true}},
			open:    []events.Event{here, gone},
		}
		m, submitted, _ := newTestManager(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			assert.NoError(t, m.Run(ctx))
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, *submitted, 1, "once")
		require.Equal(t, gone.ID, (*submitted)[0].Event.ID)
		require.Equal(t, events.StateCleared, (*submitted)[0].Event.State)
		require.Len(t, m.deps.record.Open("here"), 1)
		cancel()
		<-done
	})
}

// Versions start at 1 again when a camera is deleted and added.
func TestCameraAddedAnewIsNotTakenForTheOldOne(t *testing.T) {
	t.Parallel()
	m, _, _ := newTestManager(t, &heldStore{})
	load := func(spec string) []storedCamera {
		m.store = &heldStore{cameras: []pgstore.Camera{{Slug: "gate", Spec: json.RawMessage(spec), Version: 1, Enabled: true}}}
		cams, err := m.load(t.Context())
		require.NoError(t, err)
		return cams
	}
	m.apply(t.Context(), load(`{"name": "old & worn"}`))
	before := m.snapshot()["gate"]
	m.apply(t.Context(), load(`{"name": "old & worn"}`))
	require.Same(t, before, m.snapshot()["gate"], "nothing changed")
	m.apply(t.Context(), m.remembered())
	require.Same(t, before, m.snapshot()["gate"], "the file says the same")
	m.apply(t.Context(), load(`{"name": "new"}`))
	require.NotSame(t, before, m.snapshot()["gate"])
}

// A camera that is away before and after a restart has one event, not two.
func TestOfflineEventGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	m, submitted, _ := newTestManager(t, &heldStore{})
	now := time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)
	m.deps.now = func() time.Time { return now }
	m.deps.record.Adopt([]events.Event{openEvent(events.KindCameraOffline, "gate", now.Add(-time.Hour))})
	p, err := m.planr.Plan(storedCamera{
		Slug: "gate", Spec: []byte(`{"camera": "gate", "url": "rtsp://127.0.0.1/x"}`),
	}, func() []events.Event { return m.deps.record.Open("gate") })
	require.NoError(t, err)
	r, err := newRunner(p, m.deps)
	require.NoError(t, err)
	r.resume()
	step := func(d time.Duration) {
		for end := now.Add(d); now.Before(end); now = now.Add(500 * time.Millisecond) {
			r.look(now)
		}
	}
	step(3 * time.Second) // nothing is known yet
	require.Empty(t, *submitted)
	r.OnState(rtsp.State{Phase: rtsp.Offline, Err: errors.New("no route to host")})
	step(time.Minute)
	require.Empty(t, *submitted, "it is still away")
	r.OnState(rtsp.State{Phase: rtsp.Online})
	back := now
	step(time.Minute)
	require.Len(t, *submitted, 1)
	ev := (*submitted)[0].Event
	require.Equal(t, events.StateCleared, ev.State)
	require.WithinDuration(t, back, ev.ClearedAt, time.Second)
	require.Empty(t, m.deps.record.Open("gate"))
}

// What hangs in one part must not keep the others from saving what they have.
func TestShutdownGoesOnPastAPartThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a App
		release := make(chan struct{})
		a.Add("cameras", stageIngest, func(context.Context) error { <-release; return nil })
		saved, stopped := false, false
		a.Add("events", stageDeliver, func(ctx context.Context) error { <-ctx.Done(); saved = true; return nil })
		a.Add("database", stageStore, func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			stopped = saved
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := a.Run(ctx, 30*time.Second)
		require.ErrorIs(t, err, errStuck)
		require.ErrorContains(t, err, "cameras")
		require.True(t, stopped, "events were saved and then the database was stopped")
		close(release)
	})
}

// countingDecoder counts what it is given.
type countingDecoder struct{ units *int }

func (d countingDecoder) Decode(*media.AccessUnit) ([]*media.Frame, error) {
	*d.units++
	return nil, nil
}

func (countingDecoder) Close() {}

// An analysis that starts begins at the key frame that has just come, but one
// that starts again does not look at what was looked at before.
func TestAnalysisStartsWithWhatNobodyLookedAt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, _, _ := newTestManager(t, &heldStore{})
		p, err := m.planr.Plan(storedCamera{
			Slug: "gate", Spec: []byte(`{"camera": "gate", "url": "rtsp://127.0.0.1/x"}`),
		}, func() []events.Event { return nil })
		require.NoError(t, err)
		r, err := newRunner(p, m.deps)
		require.NoError(t, err)
		units := 0
		analysed := func() int {
			units = 0
			feed := pipeline.NewFeed(pipeline.FeedConfig{
				NewDecoder: func(media.Format) (pipeline.Decoder, error) { return countingDecoder{&units}, nil },
			})
			r.setFeed(feed)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.NoError(t, feed.Run(ctx))
			r.setFeed(nil)
			return units
		}
		send := func(key bool) {
			time.Sleep(40 * time.Millisecond)
			r.OnAccessUnit(&media.AccessUnit{Key: key, Captured: time.Now()})
		}
		r.OnFormat(media.Format{Codec: media.H264})
		send(true)
		send(false)
		require.Equal(t, 2, analysed(), "what has come since the start")
		send(false)
		require.Equal(t, 0, analysed(), "its key frame was looked at before")
		send(true)
		send(false)
		require.Equal(t, 2, analysed())
		r.OnFormat(media.Format{Codec: media.H265})
		require.Equal(t, 0, analysed(), "units of another format")
		send(true)
		r.OnFormat(media.Format{Codec: media.H264})
		require.Equal(t, 0, analysed(), "units of another format")
	})
}

// A clip whose name has no plain letter gets a name all the same.
func TestSlugIsNeverEmpty(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"Cổng chợ": "c-ng-ch", "镜头": "clip", "--": "clip", "a.B_1": "a-b-1"} {
		require.Equal(t, want, slug(in))
	}
	long := slug(strings.Repeat("0123456789-", 10))
	require.LessOrEqual(t, len(long), 63, "as long as a camera's slug may be")
	require.NotEqual(t, byte('-'), long[len(long)-1])
}

// One picture that the detector cannot look at is no reason to stop for 10 s;
// a detector that fails all the time is.
func TestSinglePicturesMayFail(t *testing.T) {
	t.Parallel()
	bad := errors.New("not finite")
	var next error
	told := 0
	step := tolerant(func(context.Context, *media.Frame) error { return next }, func(error) { told++ })
	for range 100 {
		next = bad
		require.NoError(t, step(t.Context(), nil))
		next = nil
		require.NoError(t, step(t.Context(), nil))
	}
	require.Equal(t, 100, told)
	next = bad
	for range failuresInARow - 1 {
		require.NoError(t, step(t.Context(), nil))
	}
	require.ErrorIs(t, step(t.Context(), nil), bad)
	require.Equal(t, 101, told, "a series is told once")
}

// sized is a picture of one colour.
type sized struct{ w, h int }

func (p sized) Size() (w, h int) { return p.w, p.h }

func (sized) BGR(dst []byte, w, h int) error {
	if len(dst) != 3*w*h {
		return errors.New("wrong size")
	}
	return nil
}

func (sized) Gray([]byte, int, int) error { return nil }
func (sized) Release()                    {}

// A recording whose picture changes its size is drawn in the first one's.
func TestAnnotatedVideoKeepsItsSize(t *testing.T) {
	t.Parallel()
	avdec.QuietLog()
	path := filepath.Join(t.TempDir(), "out.mp4")
	a, err := newAnnotator(path, &plan{calendar: schedule.Calendar{Location: time.UTC}}, "vi")
	require.NoError(t, err)
	for i, p := range []sized{{320, 240}, {160, 120}, {640, 480}} {
		err := a.between(&media.Frame{PTS: time.Duration(i) * 40 * time.Millisecond, Picture: p})
		if errors.Is(err, avdec.ErrUnavailable) {
			t.Skip("built without cgo")
		}
		require.NoError(t, err)
		require.Len(t, a.bgr, 3*320*240)
	}
	require.NoError(t, a.Close())
}

// Whatever is wrong with a stored camera, its password is not told.
func TestBrokenCamerasDoNotTellTheirPassword(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{
		`{"camera": "gate", "url": "rtsp://u:hunter2@h:99999/x"}`,
		`{"camera": "gate", "url": "rtsp://u:hunter2@[::1/x"}`,
		`{"camera": "gate", "url": "http://u:hunter2@h/x"}`,
		`{"camera": "gate", "url": "rtsp://u:hun%ter2@h/x y"}`,
		`{"camera": "gate", "url": "rtsp://h/x", "detect_url": "u:hunter2@h"}`,
		`{"camera": "gate", "url": ["rtsp://u:hunter2@h/x"]}`,
		`{"camera": "gate", "rtsp://u:hunter2@h/x": 1}`,
		`{"camera": "gate", "url": "rtsp://u:hunter2@h/x`,
		`"rtsp://u:hunter2@h/x"`,
	} {
		m, _, _ := newTestManager(t, &heldStore{})
		var log lockedBuffer
		m.log = slog.New(slog.NewTextHandler(&log, nil))
		m.start(t.Context(), storedCamera{Slug: "gate", Spec: json.RawMessage(spec), Version: 1})
		m.stopAll()
		c, err := m.Camera(t.Context(), "gate")
		require.NoError(t, err)
		for _, secret := range []string{"hunter2", "ter2"} {
			assert.NotContains(t, c.Health.LastError, secret, spec)
			assert.NotContains(t, log.String(), secret, spec)
		}
	}
}
