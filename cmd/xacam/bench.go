package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/avdec"
)

func newBenchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what this machine can do; results are JSON on standard output",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var o benchOptions
	pipe := &cobra.Command{
		Use:   "pipeline --clip VIDEO",
		Short: "Measure the pipeline against the cost of decoding and inference alone, and how many cameras run in real time",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.cameras < 1 || o.seconds < 5 || o.upTo < 0 || o.warm < 0 {
				return usagef("give at least one camera and five seconds")
			}
			res, err := benchPipeline(cmd, o)
			if err != nil {
				return err
			}
			return writeOut(o.out, cmd.OutOrStdout(), func(w io.Writer) error {
				enc := json.NewEncoder(w)
				enc.SetIndent("", "  ")
				return enc.Encode(res)
			})
		},
	}
	f := pipe.Flags()
	f.StringVar(&o.data, "data", dataDir(), "data folder; models are in its folder models")
	f.StringArrayVar(&o.clips, "clip", nil, "H.264 or H.265 clip that the cameras show (required); several are shown in turn, and should be alike")
	f.StringVar(&o.model, "model", models.Default, "name of a model")
	f.IntVar(&o.cameras, "cameras", 4, "cameras in the first run")
	f.IntVar(&o.upTo, "up-to", 0, "then add two cameras at a time, up to this many, until they no longer run in real time")
	f.IntVar(&o.seconds, "seconds", 20, "length of each run")
	f.IntVar(&o.warm, "warm-up", 0, "seconds that the cameras run before they are measured")
	f.Float64Var(&o.fps, "fps", 5, "inferences a second and camera")
	f.StringVar(&o.profile, "cpu-profile", "", "file for a CPU profile of the runs, for go tool pprof")
	f.StringVar(&o.out, "out", "", "file to write; standard output when not given")
	mustRequire(pipe, "clip")
	cmd.AddCommand(pipe, newBenchStoreCommand(), newBenchDeliveryCommand(), newBenchLoadCommand())
	return cmd
}

type benchOptions struct {
	data, model, out, profile string

	clips                        []string
	cameras, upTo, seconds, warm int
	fps                          float64
}

// benchResult is what bench pipeline prints.
type benchResult struct {
	Cores   int     `json:"cores"`
	Clip    string  `json:"clip"`
	Codec   string  `json:"codec"`
	Size    string  `json:"size"`
	ClipFPS float64 `json:"clip_fps"`
	Model   string  `json:"model"`

	width, height int // upright

	Runs      []benchRun `json:"runs"`
	MaxInTime int        `json:"cameras_in_real_time"` // of the runs made
}

// benchRun is one run with some cameras.
type benchRun struct {
	Cameras    int     `json:"cameras"`
	Seconds    float64 `json:"seconds"`
	Decoded    uint64  `json:"frames_decoded"`
	Inferences uint64  `json:"inferences"`
	Held       uint64  `json:"looks_without_motion"`
	Dozed      uint64  `json:"units_not_decoded"` // as nothing moved
	Dropped    uint64  `json:"frames_dropped"`
	CPUSeconds float64 `json:"cpu_seconds"`        // of this process: no simulator, no database
	StillsCPU  float64 `json:"stills_cpu_seconds"` // thereof for the pictures of evidence: so much for each event

	// What libavcodec and ONNX Runtime need by themselves for the same frames
	// and looks, measured before and after the run: in the rhythm of as many
	// cameras, and without a pause on one thread. Tight is the first of them with
	// the input size that the pipeline uses where it pads less than the model's.
	Paced      benchFloor `json:"floor"`
	Loop       benchFloor `json:"loop_floor"`
	Tight      benchFloor `json:"tight_floor"`
	BareInTime bool       `json:"floor_in_real_time"` // the libraries alone

	CoresPerCam float64 `json:"cores_per_camera"`
	Analysed    float64 `json:"looks_per_second_and_camera"`
	Commits     int     `json:"events_committed"`
	P50Ms       float64 `json:"frame_to_commit_p50_ms"`
	P99Ms       float64 `json:"frame_to_commit_p99_ms"`
	InTime      bool    `json:"in_real_time"`
}

// benchFloor is a floor and how the run compares.
type benchFloor struct {
	DecodeMs float64 `json:"decode_cpu_ms_per_frame"`
	InferMs  float64 `json:"inference_cpu_ms"`
	Seconds  float64 `json:"cpu_seconds"` // of the run's frames and inferences
	Ratio    float64 `json:"run_over_floor"`
	Pipeline float64 `json:"pipeline_over_floor"` // without the pictures of evidence
}

func (r *benchRun) over(f floor) benchFloor {
	s := f.seconds(r.Decoded, r.Inferences)
	return benchFloor{DecodeMs: f.decodeMs(), InferMs: f.inferMs(), Seconds: s, Ratio: r.CPUSeconds / s, Pipeline: (r.CPUSeconds - r.StillsCPU) / s}
}

func benchPipeline(cmd *cobra.Command, o benchOptions) (res *benchResult, err error) {
	b := &bench{opts: o, log: cmd.ErrOrStderr()}
	avdec.QuietLog()
	res = &benchResult{Cores: runtime.NumCPU(), Clip: o.clips[0], Model: o.model}
	if err := describeClip(res); err != nil {
		return nil, err
	}
	if o.profile != "" {
		stop, err := startProfile(o.profile)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	for n := o.cameras; ; n += 2 {
		run, err := b.between(cmd, res, n)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("run with %d cameras", n), err)
		}
		res.Runs = append(res.Runs, run)
		fmt.Fprintf(b.log, "%2d cameras: %.3f × floor (%.2f + %.2f CPU ms), %.3f × loop floor (%.2f + %.2f), %.3f × tight floor (%.2f + %.2f), %.3f with the pictures of %d events at %.0f CPU ms, %.3f cores a camera, %.2f looks/s, %d dozed, %d dropped, commit p50 %.0f ms p99 %.0f ms, in real time: %v (libraries alone: %v)\n",
			n, run.Paced.Pipeline, run.Paced.DecodeMs, run.Paced.InferMs, run.Loop.Pipeline, run.Loop.DecodeMs, run.Loop.InferMs, run.Tight.Pipeline, run.Tight.DecodeMs, run.Tight.InferMs,
			run.Paced.Ratio, run.Commits, run.StillsCPU*1e3/max(1, float64(run.Commits)), run.CoresPerCam, run.Analysed, run.Dozed, run.Dropped, run.P50Ms, run.P99Ms, run.InTime, run.BareInTime)
		if run.InTime {
			res.MaxInTime = n
		}
		if !run.InTime || n+2 > o.upTo {
			return res, nil
		}
	}
}

// between runs n cameras with the floors measured before and after, as what a
// core does in a second changes on a machine shared with others.
func (b *bench) between(cmd *cobra.Command, res *benchResult, n int) (run benchRun, err error) {
	var paced, tight, loop floor
	measure := func() (err error) {
		// ONNX Runtime is there once in a process, and the server needs it.
		fl, err := newFloors(cmd, b.opts)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, fl.Close()) }()
		d := time.Duration(b.opts.seconds) * time.Second / 4
		p, err := fl.paced(fl.whole, n, d)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		t, err := fl.paced(fl.tight, n, d)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		l, err := fl.loop(d)
		paced.add(p)
		tight.add(t)
		loop.add(l)
		return err
	}
	if err := measure(); err != nil {
		return run, err
	}
	if run, err = b.run(cmd.Context(), res, n); err != nil {
		return run, err
	}
	if err := measure(); err != nil {
		return run, err
	}
	run.Paced, run.Tight, run.Loop, run.BareInTime = run.over(paced), run.over(tight), run.over(loop), paced.keptUp()
	return run, nil
}

// startProfile writes a CPU profile until stop is called.
func startProfile(path string) (stop func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("open the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("start the profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
