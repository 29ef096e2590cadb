package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision/detect"
)

func newDetectCommand() *cobra.Command {
	var data, model, out, from string
	var minScore float64
	var tight bool
	cmd := &cobra.Command{
		Use:   "detect --model M [--min-score 0.01] [--out F] [--files-from LIST] [IMAGE…]",
		Short: "Find objects in pictures and write them as a JSON array",
		RunE: func(cmd *cobra.Command, paths []string) (err error) {
			given := len(strings.Join(paths, " "))
			if from != "" {
				listed, err := listedFiles(from, cmd.InOrStdin())
				if err != nil {
					return err
				}
				paths = append(paths, listed...)
			}
			if len(paths) == 0 {
				return usagef("give at least one picture")
			}
			if given > longArguments {
				return again(cmd, paths)
			}
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
	f.StringVar(&from, "files-from", "", "file with the names of pictures, one a line; - for standard input")
	f.StringVar(&out, "out", "", "file to write; standard output when not given")
	f.BoolVar(&tight, "tight", false, "use the smallest input that holds the picture, as cameras do, where the model allows it: faster, with boxes that differ a little")
	f.Float64Var(&minScore, "min-score", 0.01, "lowest score to report")
	return cmd
}

// longArguments is what a command line may have of file names, bytes. ONNX
// Runtime 1.30 reads the process's command line with a recursive matcher when it
// starts, and runs out of stack beyond some ten thousand.
const longArguments = 8000

// again replaces the process by one that reads the names from memory, so that
// its command line is short.
func again(cmd *cobra.Command, paths []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start with fewer arguments: %w", err)
	}
	fd, err := unix.MemfdCreate("pictures", 0)
	if err != nil {
		return fmt.Errorf("start with fewer arguments: %w", err)
	}
	list := os.NewFile(uintptr(fd), "pictures")
	if _, err := list.WriteString(strings.Join(paths, "\n")); err != nil {
		return fmt.Errorf("start with fewer arguments: %w", err)
	}
	args := []string{os.Args[0], "detect", fmt.Sprintf("--files-from=/proc/self/fd/%d", fd)}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name != "files-from" {
			args = append(args, "--"+f.Name+"="+f.Value.String())
		}
	})
	return fmt.Errorf("start with fewer arguments: %w", unix.Exec(self, args, os.Environ()))
}

// listedFiles reads names of files, one a line.
func listedFiles(from string, stdin io.Reader) ([]string, error) {
	text, err := readInput(from, stdin, 64<<20)
	if err != nil {
		return nil, usagef("read the list of pictures: %w", err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			out = append(out, line)
		}
	}
	return out, nil
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
