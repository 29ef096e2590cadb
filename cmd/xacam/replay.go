package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/events/wire"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/pipeline"
)

// replayOptions are the flags of replay.
type replayOptions struct {
	data, camera, model, start    string
	events, tracks, annotate      string
	lang                          string
	counts                        string
	commune, timeZone, replayOnly string
	noGate                        bool
}

// replayStart is the time of the first picture when none is given: a recording
// must always give the same events.
const replayStart = "2026-01-01T00:00:00+07:00"

func newReplayCommand() *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay --camera cam.yaml [--model M] [--start RFC3339] [--events F] [--tracks F] [--counts F] [--annotate out.mp4] VIDEO",
		Short: "Run a camera's pipeline on a recording, as fast as it goes, with the same result each time",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return replay(cmd, o, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", dataDir(), "data folder; models are in its folder models")
	f.StringVar(&o.camera, "camera", "", "camera file with one camera (required)")
	f.StringVar(&o.replayOnly, "name", "", "slug of the camera to use, if the file has several")
	f.StringVar(&o.model, "model", "", "name of a model; default the camera file's")
	f.StringVar(&o.start, "start", replayStart, "time of the first picture, RFC 3339")
	f.StringVar(&o.events, "events", "", "file for the events, one JSON object a line; standard output when not given")
	f.StringVar(&o.tracks, "tracks", "", "file for the tracks of every picture that was looked at, one JSON object a line")
	f.StringVar(&o.counts, "counts", "", "file for what the rules of the kind traffic_count counted, one JSON object a line")
	f.StringVar(&o.annotate, "annotate", "", "MP4 file to draw boxes, zones, rules and events into")
	f.StringVar(&o.lang, "lang", "vi", "language of what is written into the pictures: vi or en")
	f.StringVar(&o.commune, "commune", "31615", "code of the commune, for the events' place")
	f.StringVar(&o.timeZone, "time-zone", "Asia/Ho_Chi_Minh", "time zone of schedules and times")
	f.BoolVar(&o.noGate, "no-gate", false, "look at every due picture, also where nothing moves")
	mustRequire(cmd, "camera")
	return cmd
}

// oneCamera reads the camera file of a replay. It needs no address: the
// pictures come from the recording.
func oneCamera(o replayOptions, stdin io.Reader) (camera.File, error) {
	files, err := parseCameras(o.camera, stdin)
	if err != nil {
		return camera.File{}, err
	}
	for i := range files {
		if files[i].URL.IsZero() {
			files[i].URL = camera.NewSecret("rtsp://recording.invalid/")
		}
	}
	if err := camera.ValidateAll(files); err != nil {
		return camera.File{}, &usageError{err}
	}
	for _, f := range files {
		if f.Camera == o.replayOnly || o.replayOnly == "" && len(files) == 1 {
			return f, nil
		}
	}
	return camera.File{}, usagef("%s has %d cameras; name one of them with --name", o.camera, len(files))
}

func replay(cmd *cobra.Command, o replayOptions, video string) (err error) {
	cam, err := oneCamera(o, cmd.InOrStdin())
	if err != nil {
		return err
	}
	start, err := time.Parse(time.RFC3339, o.start)
	if err != nil {
		return usagef("--start %q: give a time such as %s", o.start, replayStart)
	}
	loc, err := time.LoadLocation(o.timeZone)
	if err != nil {
		return usagef("--time-zone: %w", err)
	}
	holidays, err := schedule.ParseHolidays(defaultConfig().Commune.Holidays)
	if err != nil {
		return err
	}
	if o.lang != "vi" && o.lang != "en" {
		return usagef("--lang %q: give vi or en", o.lang)
	}
	avdec.QuietLog()
	file, err := avdec.OpenFile(avdec.FileConfig{Path: video, Start: start})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()

	dets, err := localDetectors(o.data)
	if err != nil {
		return err
	}
	dets.workers = 1
	defer func() { err = errors.Join(err, dets.Close()) }()
	if o.model == "" {
		o.model = cam.Detect.Model
	}
	if o.model == "" {
		o.model = defaultConfig().Inference.Model
	}
	det, err := modelFor(cmd, dets, o.model)
	if err != nil {
		return err
	}
	p := &plan{
		slug: cam.Camera, file: cam, source: cam.Source(), place: cam.Place(o.commune), fps: cam.Detect.FPS,
		model: o.model, detector: det, helmets: dets, reid: dets, calendar: schedule.Calendar{Location: loc, Holidays: holidays},
	}
	r := &replayer{plan: p, opts: o, file: file, loc: loc}
	if err := r.run(cmd.Context(), cmd.OutOrStdout()); err != nil {
		return err
	}
	if err := r.counts.write(o.counts, loc); err != nil {
		return err
	}
	return r.summary(cmd.ErrOrStderr(), filepath.Base(video))
}

// replayer is one replay.
type replayer struct {
	plan *plan
	opts replayOptions
	file *avdec.File
	loc  *time.Location

	events, tracks *bufio.Writer
	annotated      *annotator
	counts         totals

	frames, looks, held, changes int
	video                        time.Duration
	began                        time.Time
	cpu                          time.Duration
}

func (r *replayer) run(ctx context.Context, stdout io.Writer) (err error) {
	r.began, r.cpu = time.Now(), processCPU()
	closeEvents, err := openLines(&r.events, r.opts.events, stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeEvents(err == nil)) }()
	if r.opts.tracks != "" {
		closeTracks, err := openLines(&r.tracks, r.opts.tracks, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeTracks(err == nil)) }()
	}
	if r.opts.annotate != "" {
		if r.annotated, err = newAnnotator(r.opts.annotate, r.plan, r.opts.lang); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.annotated.Close()) }()
	}
	format := r.file.Format()
	aspect := 0.0
	if format.Height > 0 && format.Width > 0 {
		aspect = float64(format.Width) / float64(format.Height)
		if format.Rotation%180 != 0 {
			aspect = 1 / aspect
		}
	}
	cam, err := r.plan.newCamera(analysis{record: r.record, counted: r.counts.add, look: r.look, aspect: aspect, noGate: r.opts.noGate}, nil, time.Time{})
	if err != nil {
		return err
	}
	return r.pump(ctx, cam)
}

// pump feeds every due frame to the pipeline.
func (r *replayer) pump(ctx context.Context, cam *pipeline.Camera) error {
	due := pipeline.NewGrid(r.plan.fps)
	for ctx.Err() == nil {
		f, err := r.file.ReadFrame()
		if errors.Is(err, io.EOF) {
			return cam.End(ctx)
		}
		if err != nil {
			return err
		}
		r.frames++
		r.video = f.PTS
		if due.Take(f.PTS) {
			err = cam.Step(ctx, f)
		} else if r.annotated != nil {
			err = r.annotated.between(f)
		}
		f.Release()
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// record writes events. What a server's clock would say is left to the
// recording, so that the same input gives the same bytes.
func (r *replayer) record(_ context.Context, _ *media.Frame, changes []events.Change) error {
	for i := range changes {
		ev := changes[i].Event
		r.changes++
		ev.Sequence = int64(r.changes)
		ev.ReceivedAt = ev.OccurredAt
		w := wire.FromEvent(&ev, wire.Options{Location: r.loc})
		line, err := w.AppendJSON(nil)
		if err != nil {
			return err
		}
		if _, err := r.events.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("write events: %w", err)
		}
	}
	return nil
}

// trackLine is one look in the file of tracks.
type trackLine struct {
	T      float64     `json:"t"` // seconds since the first picture
	At     string      `json:"at"`
	Held   bool        `json:"held,omitempty"` // nothing moved, the detector did not look
	Tracks []trackJSON `json:"tracks"`
}

type trackJSON struct {
	ID    uint64     `json:"id"`
	Class string     `json:"class"`
	Score float64    `json:"score"`
	Box   [4]float64 `json:"box"` // x0, y0, x1, y1 in [0,1]
	Seen  bool       `json:"seen"`

	Carrier uint64        `json:"carrier,omitempty"` // ID of the vehicle that a rider is on
	Marks   []vision.Mark `json:"marks,omitempty"`   // what the second stage says
}

func (r *replayer) look(l *pipeline.Look) error {
	if l.Held {
		r.held++
	} else {
		r.looks++
	}
	if r.tracks != nil {
		line := trackLine{
			T: l.Frame.PTS.Seconds(), At: l.Scene.At.In(r.loc).Format(wire.TimeLayout), Held: l.Held, Tracks: []trackJSON{},
		}
		for i := range l.Scene.Tracks {
			t := &l.Scene.Tracks[i]
			line.Tracks = append(line.Tracks, trackJSON{
				ID: t.ID, Class: t.Label, Score: round4(t.Score), Seen: !t.Coasting(l.Scene.At), Carrier: t.Carrier, Marks: t.Marks,
				Box: [4]float64{round4(t.Box.Min.X), round4(t.Box.Min.Y), round4(t.Box.Max.X), round4(t.Box.Max.Y)},
			})
		}
		b, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("write tracks: %w", err)
		}
		if _, err := r.tracks.Write(append(b, '\n')); err != nil {
			return fmt.Errorf("write tracks: %w", err)
		}
	}
	if r.annotated != nil {
		return r.annotated.look(l)
	}
	return nil
}

func round4(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// summary tells what the replay did and cost.
func (r *replayer) summary(w io.Writer, video string) error {
	_, err := fmt.Fprintf(w, "%s: %.1f s of video, %d frames, %d inferences, %d looks without motion, %d event changes; %.2f CPU s, %.2f s wall\n",
		video, r.video.Seconds(), r.frames, r.looks, r.held, r.changes,
		(processCPU() - r.cpu).Seconds(), time.Since(r.began).Seconds())
	return err
}

// openLines opens a file of lines, which appears under its name only when it is
// closed as complete; stdout when path is empty.
func openLines(dst **bufio.Writer, path string, stdout io.Writer) (done func(complete bool) error, err error) {
	if path == "" {
		*dst = bufio.NewWriter(stdout)
		w := *dst
		return func(bool) error { return w.Flush() }, nil
	}
	f, err := os.OpenFile(draftOf(path), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the result: %w", err)
	}
	w := bufio.NewWriter(f)
	*dst = w
	return func(complete bool) error {
		err := errors.Join(w.Flush(), f.Close())
		switch {
		case err == nil && complete:
			return publish(f.Name(), path)
		case f.Name() != path:
			err = errors.Join(err, os.Remove(f.Name()))
		}
		return err
	}, nil
}

// processCPU returns the CPU time of this process so far, all threads.
func processCPU() time.Duration { return usedCPU(unix.RUSAGE_SELF) }

// threadCPU returns the CPU time of the calling thread so far.
func threadCPU() time.Duration { return usedCPU(unix.RUSAGE_THREAD) }

func usedCPU(who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
