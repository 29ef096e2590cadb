package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/mot"
	"github.com/xacam/xacam/vision/prep"
	"github.com/xacam/xacam/vision/reid"
	"github.com/xacam/xacam/vision/track"
)

// trackOptions are the flags of "track".
type trackOptions struct {
	det, out, size, label, data, pictures, reid string
	fps                                         float64
}

func newTrackCommand() *cobra.Command {
	var o trackOptions
	cmd := &cobra.Command{
		Use:   "track --det det.txt --fps N --size WxH [--pictures DIR --reid MODEL] [--out res.txt]",
		Short: "Run the tracker alone on a MOTChallenge detection file",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return trackFile(cmd, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.det, "det", "", "detections, det.txt (required)")
	f.StringVar(&o.out, "out", "", "tracks, res.txt; standard output when not given")
	f.StringVar(&o.size, "size", "", "size of the pictures, WxH in pixels (required)")
	f.StringVar(&o.label, "class", "person", "class of all objects in the file")
	f.Float64Var(&o.fps, "fps", 0, "frames a second (required)")
	f.StringVar(&o.pictures, "pictures", "", "folder of the pictures, 000001.jpg and so on, for --reid")
	f.StringVar(&o.reid, "reid", "", "name of an embedding model that finds lost tracks again")
	f.StringVar(&o.data, "data", dataDir(), "data folder; models are in its folder models")
	mustRequire(cmd, "det", "fps", "size")
	return cmd
}

func trackFile(cmd *cobra.Command, o trackOptions) (err error) {
	var w, h int
	if n, err := fmt.Sscanf(o.size, "%dx%d", &w, &h); n != 2 || err != nil || fmt.Sprintf("%dx%d", w, h) != o.size || w < 1 || h < 1 {
		return usagef("--size %q: give the picture's width and height in pixels, such as 1920x1080", o.size)
	}
	if o.fps <= 0 || o.fps > 1000 {
		return usagef("--fps %g: give the frames a second of the file, above 0 and at most 1000", o.fps)
	}
	if (o.reid == "") != (o.pictures == "") {
		return usagef("--reid and --pictures belong together")
	}
	b, err := os.ReadFile(o.det)
	if err != nil {
		return fmt.Errorf("read the detections: %w", err)
	}
	dets, err := mot.ReadDetections(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("%s: %w", o.det, err)
	}
	aspect := float64(w) / float64(h)
	var t vision.Tracker
	if t, err = track.New(track.Config{Aspect: aspect}); err != nil {
		return err
	}
	if o.reid != "" {
		var closing func() error
		if t, closing, err = newFinder(cmd, t, o, aspect); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closing()) }()
	}
	rows, err := mot.Run(t, dets, mot.Options{FPS: o.fps, WidthPx: w, HeightPx: h, Label: o.label})
	if err != nil {
		return fmt.Errorf("track %s: %w", o.det, err)
	}
	return writeOut(o.out, cmd.OutOrStdout(), func(w io.Writer) error { return mot.Write(w, rows) })
}

// finder is a tracker that finds lost tracks again in the pictures of a folder.
type finder struct {
	vision.Tracker

	keeper *reid.Keeper
	ctx    func() context.Context
	folder string
	fps    float64
	aspect float64
	looks  int
	cpu    time.Duration
	err    error // the first one
}

// newFinder puts a finder around the tracker; closing frees its model and tells
// what it cost.
func newFinder(cmd *cobra.Command, t vision.Tracker, o trackOptions, aspect float64) (_ *finder, closing func() error, err error) {
	dets, err := localDetectors(o.data)
	if err != nil {
		return nil, nil, err
	}
	dets.workers = 1
	keeper, err := dets.keeper("", o.reid)
	if err != nil {
		return nil, nil, errors.Join(err, dets.Close())
	}
	f := &finder{Tracker: t, keeper: keeper, ctx: cmd.Context, folder: o.pictures, fps: o.fps, aspect: aspect}
	return f, func() error { return errors.Join(f.summary(cmd.ErrOrStderr()), dets.Close()) }, nil
}

// Update implements vision.Tracker.
func (f *finder) Update(at time.Time, dets []vision.Detection) ([]vision.Track, []uint64) {
	s := vision.Scene{At: at, Aspect: f.aspect}
	s.Tracks, s.Ended = f.Tracker.Update(at, dets)
	frame := int(math.Round(float64(at.UnixNano())/1e9*f.fps)) + 1
	p, err := prep.Load(filepath.Join(f.folder, fmt.Sprintf("%06d.jpg", frame)))
	if err != nil {
		f.err = cmp.Or(f.err, err)
		return s.Tracks, s.Ended
	}
	defer p.Release()
	began := processCPU()
	if err := f.keeper.Enrich(f.ctx(), &media.Frame{Picture: p, Captured: at}, &s); err != nil {
		f.err = cmp.Or(f.err, err)
	}
	f.cpu += processCPU() - began
	f.looks++
	return s.Tracks, s.Ended
}

// summary tells what it cost, or the first error.
func (f *finder) summary(w io.Writer) error {
	if f.err != nil {
		return f.err
	}
	_, err := fmt.Fprintf(w, "%d looks, %.2f CPU ms each for finding tracks again\n", f.looks, float64(f.cpu.Microseconds())/1e3/float64(max(f.looks, 1)))
	return err
}

// mustRequire marks flags that have to be given.
func mustRequire(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag does not exist
		}
	}
}

// writeOut writes to the file at path, whole or not at all, or to stdout when
// path is empty.
func writeOut(path string, stdout io.Writer, write func(io.Writer) error) error {
	if path == "" {
		return write(stdout)
	}
	var buf bytes.Buffer
	if err := write(&buf); err != nil {
		return err
	}
	draft := draftOf(path)
	if err := os.WriteFile(draft, buf.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return publish(draft, path)
}
