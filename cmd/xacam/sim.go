package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/sim"
)

func newSimCommand() *cobra.Command {
	var listenOn, user, password string
	cmd := &cobra.Command{
		Use:   "sim [--listen :8554] DIR",
		Short: "Serve each clip of a folder over RTSP as a simulated camera, looping",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			avdec.QuietLog()
			clips, skipped, err := findClips(args[0])
			if err != nil {
				return err
			}
			for _, s := range skipped {
				fmt.Fprintln(cmd.ErrOrStderr(), "skipped "+s)
			}
			srv, err := newSim(listenOn, user, password, clips)
			if err != nil {
				return err
			}
			return runSim(cmd.Context(), srv, clips, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&listenOn, "listen", "127.0.0.1:8554", "address to serve on; :8554 serves every interface")
	f.StringVar(&user, "user", "", "user name that readers must give")
	f.StringVar(&password, "password", "", "password that readers must give")
	return cmd
}

// clip is a video file served as a camera.
type clip struct {
	name string // last part of the address, a slug
	path string
}

// findClips returns the clips of a folder that can be served, in order of name,
// and for each other video file why it cannot.
func findClips(dir string) (clips []clip, skipped []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("read the folder of clips: %w", err)
	}
	names := make(map[string]bool)
	for _, e := range entries {
		ext := strings.ToLower(filepath.Ext(e.Name()))
		if e.IsDir() || !slices.Contains([]string{".mp4", ".mkv", ".mov", ".avi", ".ts", ".h264", ".h265"}, ext) {
			continue
		}
		c := clip{slug(strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))), filepath.Join(dir, e.Name())}
		switch err := servable(c.path); {
		case err != nil:
			skipped = append(skipped, fmt.Sprintf("%s: %v", e.Name(), err))
		case names[c.name]:
			skipped = append(skipped, fmt.Sprintf("%s: another clip has the name %s", e.Name(), c.name))
		default:
			names[c.name] = true
			clips = append(clips, c)
		}
	}
	if len(clips) == 0 {
		return nil, nil, fmt.Errorf("the folder %s has no clip of H.264 or H.265 video", dir)
	}
	return clips, skipped, nil
}

// servable checks that the clip's video can be sent as a camera sends it.
func servable(path string) error {
	f, err := avdec.Open(path)
	if err != nil {
		return err
	}
	if f.Format().Codec == 0 {
		return errors.Join(fmt.Errorf("its video is %s; only H.264 and H.265 can be served", f.Codec()), f.Close())
	}
	return f.Close()
}

// slug makes a name for an address or a camera: small letters, digits and
// dashes, 1 to 63 of them.
func slug(s string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, s)
	out = strings.Trim(out, "-")
	return cmp.Or(strings.TrimRight(out[:min(len(out), 63)], "-"), "clip")
}

func newSim(addr, user, password string, clips []clip) (*sim.Server, error) {
	streams := make(map[string]func() (sim.Source, error), len(clips))
	for _, c := range clips {
		streams[c.name] = func() (sim.Source, error) { return avdec.Open(c.path) }
	}
	return sim.New(sim.Config{Listen: addr, Streams: streams, User: user, Password: password})
}

// runSim serves until ctx is done and says where, once it does.
func runSim(ctx context.Context, srv *sim.Server, clips []clip, w io.Writer) error {
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-srv.Ready():
	}
	for _, c := range clips {
		fmt.Fprintln(w, srv.URL(c.name))
	}
	return <-done
}
