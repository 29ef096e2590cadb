package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/probe"
	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/vision/prep"
)

func newProbeCommand() *cobra.Command {
	var transport, snapshot string
	var duration time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "probe URL",
		Short: "Connect to a camera as the server would and say what it sends and what to change on it",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := rtsp.ParseURL(args[0]); err != nil {
				return usagef("%w", err)
			}
			if transport != string(rtsp.TCP) && transport != string(rtsp.UDP) {
				return usagef("--transport %q: give tcp or udp", transport)
			}
			if duration < time.Second || duration > 10*time.Minute {
				return usagef("--duration %s: give 1s to 10m", duration)
			}
			avdec.QuietLog()
			cfg := probe.Config{URL: args[0], Transport: rtsp.Transport(transport), Duration: duration}
			if snapshot != "" {
				cfg.Decode = func(f media.Format, units []*media.AccessUnit) error { return saveSnapshot(snapshot, f, units) }
			}
			r, err := probe.Run(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(r)
			}
			if _, err := io.WriteString(cmd.OutOrStdout(), r.Text()); err != nil {
				return err
			}
			if snapshot != "" && r.SnapshotError == "" {
				fmt.Fprintf(cmd.OutOrStdout(), "Snapshot: %s\n", snapshot)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&transport, "transport", string(rtsp.TCP), "tcp or udp")
	f.StringVar(&snapshot, "snapshot", "", "JPEG file for a picture of the camera")
	f.DurationVar(&duration, "duration", 10*time.Second, "how long to watch")
	f.BoolVar(&asJSON, "json", false, "write the report as JSON")
	return cmd
}

// saveSnapshot decodes the first picture of the units into a JPEG file.
func saveSnapshot(path string, format media.Format, units []*media.AccessUnit) (err error) {
	d, err := avdec.New(avdec.Config{Format: format})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for i := range len(units) + 1 {
		var frames []*media.Frame
		if i < len(units) {
			frames, err = d.Decode(units[i])
		} else {
			frames, err = d.Flush()
		}
		if err != nil {
			return err
		}
		if len(frames) == 0 {
			continue
		}
		defer func() {
			for _, f := range frames {
				f.Release()
			}
		}()
		return writePicture(path, frames[0].Picture)
	}
	return errors.New("no picture could be decoded")
}

func writePicture(path string, p media.Picture) error {
	w, h := p.Size()
	bgr := make([]byte, 3*w*h)
	if err := p.BGR(bgr, w, h); err != nil {
		return err
	}
	jpeg, err := prep.EncodeJPEG(bgr, w, h, snapshotQuality)
	if err != nil {
		return err
	}
	return writeOut(path, io.Discard, func(w io.Writer) error {
		_, err := w.Write(jpeg)
		return err
	})
}
