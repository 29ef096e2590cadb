package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision/detect"
)

func newDetectCommand() *cobra.Command {
	var data, model, out string
	var minScore float64
	var tight bool
	cmd := &cobra.Command{
		Use:   "detect --model M [--min-score 0.01] [--out F] IMAGE…",
		Short: "Find objects in pictures and write them as a JSON array",
		Args:  usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, paths []string) (err error) {
			if !(minScore > 0 && minScore < 1) {
				return usagef("--min-score %g: give a score above 0 and below 1", minScore)
			}
			dets, err := localDetectors(data)
			if err != nil {
				return err
			}
			dets.minScore, dets.whole = minScore, !tight
			defer func() { err = errors.Join(err, dets.Close()) }()
			det, err := modelFor(cmd, dets, model)
			if err != nil {
				return err
			}
			return writeOut(out, cmd.OutOrStdout(), func(w io.Writer) error {
				return detect.Images(cmd.Context(), det, paths, w, countProgress(cmd.ErrOrStderr(), len(paths)))
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&data, "data", dataDir(), "data folder; models are in its folder models")
	f.StringVar(&model, "model", models.Default, "name of a model")
	f.StringVar(&out, "out", "", "file to write; standard output when not given")
	f.BoolVar(&tight, "tight", false, "use the smallest input that holds the picture, as cameras do, where the model allows it: faster, with boxes that differ a little")
	f.Float64Var(&minScore, "min-score", 0.01, "lowest score to report")
	return cmd
}

// modelFor returns the detector of a model, which it fetches first when it is
// not here: a command that was given a model's name is a wish to have it.
func modelFor(cmd *cobra.Command, dets *detectors, name string) (*detect.Detector, error) {
	if err := dets.catalogue.Verify(name); errors.Is(err, models.ErrMissing) {
		if err := pullModel(cmd.Context(), dets.catalogue, name, cmd.ErrOrStderr()); err != nil {
			return nil, err
		}
	}
	return dets.get(name)
}

// countProgress shows "n of total" on a terminal and nothing elsewhere.
func countProgress(w io.Writer, total int) func(int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(done int) {
		fmt.Fprintf(w, "\r\033[K%d of %d", done, total)
		if done == total {
			fmt.Fprint(w, "\r\033[K")
		}
	}
}
