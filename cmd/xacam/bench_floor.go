package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/pipeline"
)

// floors measures what libavcodec and ONNX Runtime cost by themselves on the
// clip: nothing is received, scaled, followed, judged or kept.
type floors struct {
	clips []string
	fps   float64 // inferences a second and camera
	dets  *detectors
	whole *ort.Session // at the model's own input size
	tight *ort.Session // at the size that the pipeline uses for the clip
}

// floor is the CPU time of the two libraries.
type floor struct {
	decode, infer time.Duration
	frames, looks int
	wanted        int // frames that were to be decoded in the time
}

func (f *floor) add(g floor) {
	f.decode += g.decode
	f.infer += g.infer
	f.frames += g.frames
	f.looks += g.looks
	f.wanted += g.wanted
}

func (f *floor) decodeMs() float64 { return f.decode.Seconds() * 1e3 / float64(max(1, f.frames)) }
func (f *floor) inferMs() float64  { return f.infer.Seconds() * 1e3 / float64(max(1, f.looks)) }

// seconds returns what the given numbers of frames and looks cost.
func (f *floor) seconds(frames, looks uint64) float64 {
	return (float64(frames)*f.decodeMs() + float64(looks)*f.inferMs()) / 1e3
}

// keptUp reports whether the libraries alone ran in real time.
func (f *floor) keptUp() bool { return float64(f.frames) >= .97*float64(f.wanted) }

func newFloors(cmd *cobra.Command, o benchOptions) (*floors, error) {
	dets, err := localDetectors(o.data)
	if err != nil {
		return nil, err
	}
	f := &floors{clips: o.clips, fps: o.fps, dets: dets}
	det, err := modelFor(cmd, dets, o.model)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	m := det.Manifest()
	clip := benchResult{Clip: o.clips[0]}
	if err := describeClip(&clip); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	cfg := ort.Config{Path: dets.catalogue.Path(m), SHA256: m.SHA256, Width: m.Input.Width, Height: m.Input.Height}
	if f.whole, err = dets.runtime.Load(cfg); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	in := m.Input.Tight(clip.width, clip.height)
	cfg.Resize, cfg.Width, cfg.Height = m.Input.MultipleOf > 0, in.Width, in.Height
	if f.tight, err = dets.runtime.Load(cfg); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close frees the model.
func (f *floors) Close() error {
	var err error
	for _, s := range []*ort.Session{f.whole, f.tight} {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}
	return errors.Join(err, f.dets.Close())
}

// describeClip fills in what the clip is.
func describeClip(res *benchResult) (err error) {
	file, err := avdec.Open(res.Clip)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	format := file.Format()
	if format.Codec == 0 {
		return fmt.Errorf("the clip's video is %s; give one of H.264 or H.265", file.Codec())
	}
	if format.FPS <= 0 {
		return errors.New("the clip does not say how many frames a second it has")
	}
	res.width, res.height = format.Width, format.Height
	if format.Rotation%180 != 0 {
		res.width, res.height = format.Height, format.Width
	}
	res.Codec, res.Size, res.ClipFPS = format.Codec.String(), fmt.Sprintf("%dx%d", format.Width, format.Height), format.FPS
	return nil
}

// loop measures them one after the other without a pause, on one thread: the
// least they can cost.
func (f *floors) loop(d time.Duration) (floor, error) { return f.camera(f.whole, 0, d, 0, false) }

// paced measures them in the rhythm of n cameras, a thread each: what they cost
// between idle moments, with each other in the caches.
func (f *floors) paced(s *ort.Session, n int, d time.Duration) (sum floor, err error) {
	var g errgroup.Group
	each := make([]floor, n)
	for i := range n {
		g.Go(func() (err error) {
			each[i], err = f.camera(s, i, d, float64(i)/float64(n), true)
			return err
		})
	}
	err = g.Wait()
	for _, e := range each {
		sum.add(e)
	}
	return sum, err
}

// camera decodes the i-th camera's clip for d and runs the model for the frames that are due.
// A paced one waits for each frame's time, shifted by phase frames.
func (f *floors) camera(s *ort.Session, i int, d time.Duration, phase float64, paced bool) (sum floor, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := f.open(s, i)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	interval := time.Duration(float64(time.Second) / c.file.Format().FPS)
	for range 10 { // warm
		if err := c.step(); err != nil {
			return sum, err
		}
	}
	c.sum = floor{}
	start := time.Now().Add(time.Duration(phase * float64(interval)))
	for i := 0; time.Since(start) < d; i++ {
		if paced {
			time.Sleep(time.Until(start.Add(time.Duration(i) * interval)))
		}
		if err := c.step(); err != nil {
			return sum, err
		}
	}
	c.sum.wanted = int(d / interval)
	return c.sum, nil
}

// floorCamera is one camera of the floors.
type floorCamera struct {
	s    *ort.Session
	buf  *ort.Buffers
	file *avdec.File
	dec  *avdec.Decoder
	grid *pipeline.Grid
	pts  time.Duration // of the next frame; the clip's own start anew with each round
	sum  floor
}

func (f *floors) open(s *ort.Session, i int) (c *floorCamera, err error) {
	c = &floorCamera{s: s, grid: pipeline.NewGrid(f.fps)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
			c = nil
		}
	}()
	if c.buf, err = s.NewBuffers(); err != nil {
		return c, err
	}
	for i := range c.buf.Input() {
		c.buf.Input()[i] = float32(i * 2654435761 % 256)
	}
	if c.file, err = avdec.Open(f.clips[i%len(f.clips)]); err != nil {
		return c, err
	}
	c.dec, err = avdec.New(avdec.Config{Format: c.file.Format()})
	return c, err
}

// Close frees the decoder and the buffers.
func (c *floorCamera) Close() error {
	var errs []error
	if c.dec != nil {
		errs = append(errs, c.dec.Close())
	}
	if c.file != nil {
		errs = append(errs, c.file.Close())
	}
	if c.buf != nil {
		c.buf.Close()
	}
	return errors.Join(errs...)
}

// step decodes the next access unit and looks at what is due.
func (c *floorCamera) step() error {
	au, err := c.file.Next()
	if errors.Is(err, io.EOF) {
		if err := c.file.Rewind(); err != nil {
			return err
		}
		au, err = c.file.Next()
	}
	if err != nil {
		return err
	}
	start := threadCPU()
	out, err := c.dec.Decode(au)
	if err != nil {
		return err
	}
	for _, fr := range out {
		fr.Release()
	}
	c.sum.decode += threadCPU() - start
	c.sum.frames += len(out)
	for range len(out) {
		c.pts += time.Duration(float64(time.Second) / c.file.Format().FPS)
		if !c.grid.Take(c.pts) {
			continue
		}
		start := threadCPU()
		if _, err := c.s.Run(c.buf); err != nil {
			return err
		}
		c.sum.infer += threadCPU() - start
		c.sum.looks++
	}
	return nil
}
