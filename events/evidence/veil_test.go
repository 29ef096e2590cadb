package evidence_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/streams/clip"
	"github.com/xacam/xacam/streams/streamtest"
)

// veilViewer keeps what it was told to hide on the clip.
type veilViewer struct {
	plainViewer
	veil evidence.Veil
}

func (v *veilViewer) Clip(ctx context.Context, from, to string, lines []string, veil evidence.Veil) (string, error) {
	v.veil = veil
	_, err := v.plainViewer.Clip(ctx, from, to, lines, veil)
	return "", err
}

// filmedTrack is a track file in the making.
type filmedTrack struct {
	From     time.Time        `json:"from"`
	Complete []int64          `json:"complete_ms"`
	Objects  []map[string]any `json:"objects"`
}

func (f *filmedTrack) walk(role, class string, box func(at time.Duration) [4]float64, from, to, step time.Duration) {
	var points []map[string]any
	for at := from; at <= to; at += step {
		points = append(points, map[string]any{"at": f.From.Add(at), "box": box(at)})
	}
	f.Objects = append(f.Objects, map[string]any{"role": role, "class": class, "points": points})
}

// film writes a clip of so many seconds whose pictures were taken as captured
// says, from their place in it.
func film(t *testing.T, path string, length time.Duration, captured func(at time.Duration) time.Time) {
	t.Helper()
	source := streamtest.Open(t, streamtest.H264)
	var w *clip.Writer
	var base, last time.Duration
	for {
		au, err := source.Next()
		if err != nil { // from the beginning
			source, base = streamtest.Open(t, streamtest.H264), last+40*time.Millisecond
			continue
		}
		u := *au
		u.PTS += base
		if last = u.PTS; last > length {
			break
		}
		u.Captured = captured(u.PTS)
		if w == nil {
			w, err = clip.Create(path, clip.Config{Format: source.Format()})
			require.NoError(t, err)
		}
		require.NoError(t, w.Add(&u))
	}
	_, err := w.Close()
	require.NoError(t, err)
}

// veiled seals an event with a clip of ten seconds and a track, and exports it.
// record may be nil. It returns the veil, the readme and the note of the copy.
func veiled(t *testing.T, blur evidence.Blur, track any, record map[string]any) (veil evidence.Veil, readme, note string) {
	t.Helper()
	return veiledClip(t, blur, track, record, 10*time.Second, filmStart().Add)
}

// veiledClip does so with a clip of the given length, and the times of capture of
// its pictures.
func veiledClip(
	t *testing.T, blur evidence.Blur, track any, record map[string]any, length time.Duration, captured func(time.Duration) time.Time,
) (veil evidence.Veil, readme, note string) {
	t.Helper()
	s := newSeals(t)
	d := s.draft(t, 1)
	if captured != nil {
		rel, full, err := s.store.Place("cong-cho-film.mp4", d.Event.OccurredAt)
		require.NoError(t, err)
		film(t, full, length, captured)
		d.Files[3], err = s.store.Ref("clip", rel)
		require.NoError(t, err)
	}
	if record == nil {
		record = map[string]any{}
	}
	if _, told := record["event"]; !told {
		end := filmStart().Add(length)
		if captured != nil {
			end = captured(length)
		}
		record["clip"] = map[string]any{"path": d.Files[3].Path, "start": filmStart(), "end": end}
	}
	var err error
	d.Record, err = json.Marshal(record)
	require.NoError(t, err)
	if track != nil {
		b, err := json.Marshal(track)
		require.NoError(t, err)
		d.Files[4], err = s.store.Put("track", "cong-cho-track.json", day, b)
		require.NoError(t, err)
	}
	s.chain.known[d.Event.ID] = true
	s.drafts.put(t, d)
	s.run(t, func() bool { return len(s.drafts.left()) == 0 })
	v := &veilViewer{}
	x, _ := s.exporter(t, v)
	r := request
	r.Blur = blur
	p, err := x.Prepare(t.Context(), s.stored(t, 1), r)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, p.Write(t.Context(), &out))
	files := unzip(t, out.Bytes())
	for _, f := range files {
		if f.name == "export.json" {
			x, err := evidence.ParseExport(f.data)
			require.NoError(t, err)
			for _, extra := range x.Files {
				if extra.Name == "viewing/clip.mp4" {
					note = extra.Note
				}
			}
		}
	}
	require.Equal(t, "README.txt", files[0].name)
	report, err := verify(t, out.Bytes(), s.vault.Public())
	require.NoError(t, err)
	require.Empty(t, report.Findings)
	return v.veil, string(files[0].data), note
}

func filmStart() time.Time { return day.Add(time.Second - 5*time.Second) }

func inside(areas [][4]float64, box [4]float64) error {
	for _, a := range areas {
		if a[0] <= box[0] && a[1] <= box[1] && a[2] >= box[2] && a[3] >= box[3] {
			return nil
		}
	}
	return fmt.Errorf("%v is not hidden by any of %v", box, areas)
}

// TestVeilFollowsPeople has somebody walk across the picture while the subject
// stands, and looks at moments between the looks.
func TestVeilFollowsPeople(t *testing.T) {
	t.Parallel()
	other := func(at time.Duration) [4]float64 {
		x := 0.8 - 0.07*at.Seconds()
		return [4]float64{x, .3, x + .08, .7}
	}
	subject := [4]float64{.05, .3, .13, .7}
	car := [4]float64{.3, .8, .5, .95}
	track := filmedTrack{From: filmStart()}
	for ms := int64(0); ms <= 10_000; ms += 200 {
		track.Complete = append(track.Complete, ms)
	}
	track.walk("other", "person", other, 2*time.Second, 7*time.Second, 200*time.Millisecond)
	track.walk("subject", "person", func(time.Duration) [4]float64 { return subject }, 0, 10*time.Second, 200*time.Millisecond)
	track.walk("other", "car", func(time.Duration) [4]float64 { return car }, 0, 10*time.Second, 200*time.Millisecond)
	veil, readme, note := veiled(t, evidence.BlurOthers, track, nil)
	require.NotNil(t, veil)
	assert.Empty(t, note)
	assert.Contains(t, readme, "Máy có thể bỏ sót")
	assert.NotContains(t, readme, "blurred as a whole")
	for range 500 {
		at := rand.N(10 * time.Second)
		areas, whole := veil(at)
		require.False(t, whole, at)
		require.NoError(t, inside(areas, [4]float64{.3, .875, .5, .95}), "number plate at %s", at)
		require.Error(t, inside(areas, subject), "the subject is seen at %s", at)
		if at > 1200*time.Millisecond && at < 7800*time.Millisecond {
			require.NoError(t, inside(areas, other(at)), "at %s; also shortly before and after it was seen", at)
		}
		if at < 400*time.Millisecond {
			require.Len(t, areas, 1, "nobody is hidden long before")
		}
	}
	areas, _ := veil(4 * time.Second)
	require.Len(t, areas, 2)
	assert.Less(t, areas[0][2]-areas[0][0], .2, "no more is hidden than must be")

	assert.NotContains(t, readme, "is blurred as well")
	veil, readme, _ = veiled(t, evidence.BlurAll, track, nil)
	assert.Contains(t, readme, "cũng được làm mờ")
	areas, _ = veil(4 * time.Second)
	require.NoError(t, inside(areas, [4]float64{.05, .3, .13, .42}), "the subject's head")
	veil, readme, _ = veiled(t, evidence.BlurNone, track, nil)
	assert.Nil(t, veil)
	assert.NotContains(t, readme, "ABOUT THE BLURRED")
}

// TestVeilHidesEverythingWhereNothingIsKnown.
func TestVeilHidesEverythingWhereNothingIsKnown(t *testing.T) {
	t.Parallel()
	gap := filmedTrack{From: filmStart(), Complete: []int64{1000, 2000, 3000, 6000, 7000}}
	veil, readme, note := veiled(t, evidence.BlurOthers, gap, nil)
	for at, want := range map[int]bool{
		0: true, 500: true, 700: false, 1500: false, 3300: false, 3500: true, 5500: true, 5700: false, 7300: false, 7500: true, 9900: true,
	} {
		areas, whole := veil(time.Duration(at) * time.Millisecond)
		assert.Equal(t, want, whole, at)
		assert.Empty(t, areas)
	}
	assert.Contains(t, note, "blurred as a whole where")
	assert.Contains(t, readme, "blurred as a whole where the package does not say")
	assert.Contains(t, readme, "làm mờ toàn bộ hình ở những đoạn")

	old := map[string]any{"from": filmStart(), "objects": []any{}}
	for name, c := range map[string]struct{ track, record any }{
		"no JSON":               {nil, nil},
		"of an earlier version": {old, nil},
		"no clip in the record": {filmedTrack{From: filmStart(), Complete: []int64{0, 1000}}, map[string]any{"event": "x"}},
	} {
		record, _ := c.record.(map[string]any)
		veil, readme, note := veiled(t, evidence.BlurOthers, c.track, record)
		require.NotNil(t, veil, name)
		for at := range 70 {
			_, whole := veil(time.Duration(at) * time.Second)
			assert.True(t, whole, name)
		}
		assert.Contains(t, note, "it is blurred as a whole: it was not recorded", name)
		assert.Contains(t, readme, "viewing/clip.mp4 is blurred as a whole: the package", name)
		assert.Contains(t, readme, "viewing/clip.mp4 được làm mờ toàn bộ hình, vì", name)
	}
}

// TestMasksAreHidden: who stands in a mask is never looked at, so nobody knows.
func TestMasksAreHidden(t *testing.T) {
	t.Parallel()
	track := filmedTrack{From: filmStart(), Complete: []int64{0, 1000}}
	record := map[string]any{"masks": [][][2]float64{{{.4, .6}, {.6, .6}, {.5, .9}}}, "boxes": []any{}}
	veil, _, _ := veiled(t, evidence.BlurOthers, track, record)
	areas, whole := veil(0)
	assert.False(t, whole)
	require.NoError(t, inside(areas, [4]float64{.4, .35, .6, .9}), "whose feet are in it is hidden up to the head")
}

// TestNoCopyOfAClip says why, whatever is hidden.
func TestNoCopyOfAClip(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	x, _ := s.exporter(t, &veilViewer{plainViewer: plainViewer{err: errors.New("no encoder")}})
	r := request
	r.Blur = evidence.BlurAll
	p, err := x.Prepare(t.Context(), s.stored(t, 1), r)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, p.Write(t.Context(), &out))
	report, err := verify(t, out.Bytes(), s.vault.Public())
	require.NoError(t, err)
	assert.Contains(t, report.Notes, "viewing/clip.mp4: the copy could not be made, says export.json")
}

// TestVeilFollowsTheClipsOwnTime: looks have times of capture, which jump where a
// clock is set, and the clip goes on as the stream does. Somebody walks through
// the picture meanwhile.
func TestVeilFollowsTheClipsOwnTime(t *testing.T) {
	t.Parallel()
	const length = 15 * time.Second
	other := func(at time.Duration) [4]float64 {
		x := 0.06 * at.Seconds()
		return [4]float64{x, .3, x + .08, .7}
	}
	for name, c := range map[string]struct {
		offset func(at time.Duration) time.Duration // of capture against the clip's time
		unsure int                                  // tenths of a second that may be blurred as a whole
	}{
		"no step":  {func(time.Duration) time.Duration { return 0 }, 0},
		"drift":    {func(at time.Duration) time.Duration { return at / 100 }, 0},
		"forward":  {step(5300*time.Millisecond, 5*time.Second), 30},
		"a bit":    {step(5300*time.Millisecond, 300*time.Millisecond), 30},
		"back":     {step(7300*time.Millisecond, -3*time.Second), 80},
		"at first": {step(200*time.Millisecond, 2*time.Second), 25},
		"at last":  {step(14700*time.Millisecond, 2*time.Second), 25},
		"slowly": {func(at time.Duration) time.Duration { // back at half speed, as streams/rtsp does
			return -min(max(at-4*time.Second, 0)/2, 2*time.Second)
		}, 80},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			captured := func(at time.Duration) time.Time { return filmStart().Add(at + c.offset(at)) }
			track := filmedTrack{From: filmStart()}
			var points []map[string]any
			for at := time.Duration(0); at <= length; at += 200 * time.Millisecond {
				track.Complete = append(track.Complete, captured(at).Sub(track.From).Milliseconds())
				points = append(points, map[string]any{"at": captured(at), "box": other(at)})
			}
			passer := [4]float64{.7, .1, .75, .3} // only there right after the step
			var passed []map[string]any
			for at := 5400 * time.Millisecond; at <= 5800*time.Millisecond; at += 200 * time.Millisecond {
				passed = append(passed, map[string]any{"at": captured(at), "box": passer})
			}
			track.Objects = append(track.Objects, map[string]any{"role": "other", "class": "person", "points": points},
				map[string]any{"role": "other", "class": "person", "points": passed})
			veil, _, note := veiledClip(t, evidence.BlurOthers, track, nil, length, captured)
			unsure := 0
			for at := time.Duration(0); at <= length; at += 100 * time.Millisecond {
				areas, whole := veil(at)
				if whole {
					unsure++
					continue
				}
				require.NoError(t, inside(areas, other(at)), "at %s", at)
				if at >= 5400*time.Millisecond && at <= 5800*time.Millisecond {
					require.NoError(t, inside(areas, passer), "at %s", at)
				}
				for _, a := range areas {
					assert.Less(t, a[2]-a[0], .6, "at %s more is hidden than must be", at)
				}
			}
			assert.LessOrEqual(t, unsure, c.unsure)
			assert.Equal(t, unsure > 0, note != "", "the package says so: %q", note)
		})
	}
}

func step(at, by time.Duration) func(time.Duration) time.Duration {
	return func(now time.Duration) time.Duration {
		if now < at {
			return 0
		}
		return by
	}
}

// A clip that does not tell its times is hidden as a whole, as a bad one is.
func TestVeilOfAClipWithoutTimes(t *testing.T) {
	t.Parallel()
	track := filmedTrack{From: filmStart()}
	for ms := int64(0); ms <= 10_000; ms += 200 {
		track.Complete = append(track.Complete, ms)
	}
	veil, _, note := veiledClip(t, evidence.BlurOthers, track, nil, 10*time.Second, nil)
	for at := range 10 {
		_, whole := veil(time.Duration(at) * time.Second)
		assert.True(t, whole)
	}
	assert.Contains(t, note, "it is blurred as a whole")
}

// Who was taken for a person once is hidden as a whole, whatever else he was
// taken for.
func TestVeilOfSomebodyWithTwoClasses(t *testing.T) {
	t.Parallel()
	track := filmedTrack{From: filmStart()}
	box := [4]float64{.4, .3, .5, .7}
	var points []map[string]any
	for ms := 0; ms <= 10_000; ms += 200 {
		track.Complete = append(track.Complete, int64(ms))
		p := map[string]any{"at": track.From.Add(time.Duration(ms) * time.Millisecond), "box": box}
		if ms < 3000 {
			p["class"] = "person"
		}
		points = append(points, p)
	}
	track.Objects = append(track.Objects, map[string]any{"role": "other", "class": "motorcycle", "points": points})
	veil, _, _ := veiled(t, evidence.BlurOthers, track, nil)
	for at := range 10 {
		areas, whole := veil(time.Duration(at) * time.Second)
		assert.False(t, whole)
		require.NoError(t, inside(areas, box))
	}
}

// The looks are at another stream than the clip's, whose clock is seconds behind.
func TestVeilKnowsTwoClocksApart(t *testing.T) {
	t.Parallel()
	const skew = 4 * time.Second
	other := func(at time.Duration) [4]float64 {
		x := 0.06 * at.Seconds()
		return [4]float64{x, .3, x + .08, .7}
	}
	track := filmedTrack{From: filmStart().Add(-skew)}
	var points []map[string]any
	for at := time.Duration(0); at <= 10*time.Second; at += 200 * time.Millisecond {
		track.Complete = append(track.Complete, (at + skew).Milliseconds())
		points = append(points, map[string]any{"at": track.From.Add(at), "skew_ms": skew.Milliseconds(), "box": other(at)})
	}
	track.Objects = append(track.Objects, map[string]any{"role": "other", "class": "person", "points": points})
	veil, _, note := veiled(t, evidence.BlurOthers, track, nil)
	assert.Empty(t, note)
	for at := time.Duration(0); at <= 10*time.Second; at += 100 * time.Millisecond {
		areas, whole := veil(at)
		require.False(t, whole)
		require.NoError(t, inside(areas, other(at)), "at %s", at)
	}
}
