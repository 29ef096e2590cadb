package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/vision/mot"
	"github.com/xacam/xacam/vision/track"
)

func newTrackCommand() *cobra.Command {
	var det, out, size, label string
	var fps float64
	cmd := &cobra.Command{
		Use:   "track --det det.txt --fps N --size WxH [--out res.txt]",
		Short: "Run the tracker alone on a MOTChallenge detection file",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var w, h int
			if n, err := fmt.Sscanf(size, "%dx%d", &w, &h); n != 2 || err != nil || fmt.Sprintf("%dx%d", w, h) != size || w < 1 || h < 1 {
				return usagef("--size %q: give the picture's width and height in pixels, such as 1920x1080", size)
			}
			if fps <= 0 || fps > 1000 {
				return usagef("--fps %g: give the frames a second of the file, above 0 and at most 1000", fps)
			}
			b, err := os.ReadFile(det)
			if err != nil {
				return fmt.Errorf("read the detections: %w", err)
			}
			dets, err := mot.ReadDetections(bytes.NewReader(b))
			if err != nil {
				return fmt.Errorf("%s: %w", det, err)
			}
			t, err := track.New(track.Config{Aspect: float64(w) / float64(h)})
			if err != nil {
				return err
			}
			rows, err := mot.Run(t, dets, mot.Options{FPS: fps, WidthPx: w, HeightPx: h, Label: label})
			if err != nil {
				return fmt.Errorf("track %s: %w", det, err)
			}
			return writeOut(out, cmd.OutOrStdout(), func(w io.Writer) error { return mot.Write(w, rows) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&det, "det", "", "detections, det.txt (required)")
	f.StringVar(&out, "out", "", "tracks, res.txt; standard output when not given")
	f.StringVar(&size, "size", "", "size of the pictures, WxH in pixels (required)")
	f.StringVar(&label, "class", "person", "class of all objects in the file")
	f.Float64Var(&fps, "fps", 0, "frames a second (required)")
	mustRequire(cmd, "det", "fps", "size")
	return cmd
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
	// What is no file, such as /dev/null or a pipe, must not be replaced by one.
	if fi, err := os.Stat(path); err == nil && !fi.Mode().IsRegular() {
		if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		return nil
	}
	if err := os.WriteFile(path+".part", buf.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
