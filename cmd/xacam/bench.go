package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/models"
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
			if o.cameras < 1 || o.seconds < 5 || o.upTo < 0 {
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
	f.StringVar(&o.clip, "clip", "", "H.264 or H.265 clip that every camera shows (required)")
	f.StringVar(&o.model, "model", models.Default, "name of a model")
	f.IntVar(&o.cameras, "cameras", 4, "cameras in the first run")
	f.IntVar(&o.upTo, "up-to", 0, "then add two cameras at a time, up to this many, until they no longer run in real time")
	f.IntVar(&o.seconds, "seconds", 20, "length of each run")
	f.Float64Var(&o.fps, "fps", 5, "inferences a second and camera")
	f.StringVar(&o.profile, "cpu-profile", "", "file for a CPU profile of the runs, for go tool pprof")
	f.StringVar(&o.out, "out", "", "file to write; standard output when not given")
	mustRequire(pipe, "clip")
	cmd.AddCommand(pipe)
	return cmd
}

type benchOptions struct {
	data, clip, model, out, profile string

	cameras, upTo, seconds int
	fps                    float64
}

// benchResult is what bench pipeline prints.
type benchResult struct {
	Cores    int     `json:"cores"`
	Clip     string  `json:"clip"`
	Codec    string  `json:"codec"`
	Size     string  `json:"size"`
	ClipFPS  float64 `json:"clip_fps"`
	Model    string  `json:"model"`
	DecodeMs float64 `json:"decode_cpu_ms_per_frame"`
	InferMs  float64 `json:"inference_cpu_ms"`

	// The same two at the same time, on two cores.
	BusyDecodeMs float64 `json:"busy_decode_cpu_ms_per_frame"`
	BusyInferMs  float64 `json:"busy_inference_cpu_ms"`

	Runs      []benchRun `json:"runs"`
	MaxInTime int        `json:"cameras_in_real_time"` // of the runs made
}

// benchRun is one run with some cameras.
type benchRun struct {
	Cameras      int     `json:"cameras"`
	Seconds      float64 `json:"seconds"`
	Decoded      uint64  `json:"frames_decoded"`
	Inferences   uint64  `json:"inferences"`
	Held         uint64  `json:"looks_without_motion"`
	Dropped      uint64  `json:"frames_dropped"`
	CPUSeconds   float64 `json:"cpu_seconds"`   // of this process: no simulator, no database
	FloorSeconds float64 `json:"floor_seconds"` // the same frames and inferences at the floors
	Ratio        float64 `json:"cpu_over_floor"`
	BusyRatio    float64 `json:"cpu_over_busy_floor"`
	CoresPerCam  float64 `json:"cores_per_camera"`
	Analysed     float64 `json:"looks_per_second_and_camera"`
	Commits      int     `json:"events_committed"`
	P50Ms        float64 `json:"frame_to_commit_p50_ms"`
	P99Ms        float64 `json:"frame_to_commit_p99_ms"`
	InTime       bool    `json:"in_real_time"`
}

func benchPipeline(cmd *cobra.Command, o benchOptions) (res *benchResult, err error) {
	b := &bench{opts: o, log: cmd.ErrOrStderr()}
	res = &benchResult{Cores: runtime.NumCPU(), Clip: o.clip, Model: o.model}
	if err := b.decodeFloor(res); err != nil {
		return nil, err
	}
	if err := b.inferenceFloor(cmd, res); err != nil {
		return nil, err
	}
	if err := b.busyFloors(cmd, res); err != nil {
		return nil, err
	}
	if o.profile != "" {
		stop, err := startProfile(o.profile)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	fmt.Fprintf(b.log, "floors: decode %.2f CPU ms a frame, inference %.2f CPU ms; both at once %.2f and %.2f\n",
		res.DecodeMs, res.InferMs, res.BusyDecodeMs, res.BusyInferMs)
	for n := o.cameras; ; n += 2 {
		run, err := b.run(cmd.Context(), res, n)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("run with %d cameras", n), err)
		}
		res.Runs = append(res.Runs, run)
		fmt.Fprintf(b.log, "%2d cameras: %.3f × floor, %.3f × busy floor, %.3f cores a camera, %.2f looks/s, %d dropped, commit p50 %.0f ms p99 %.0f ms, in real time: %v\n",
			n, run.Ratio, run.BusyRatio, run.CoresPerCam, run.Analysed, run.Dropped, run.P50Ms, run.P99Ms, run.InTime)
		if run.InTime {
			res.MaxInTime = n
		}
		if !run.InTime || n+2 > o.upTo {
			return res, nil
		}
	}
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
