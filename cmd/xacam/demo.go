package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/api"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/vision/camera"
)

func newDemoCommand() *cobra.Command {
	var data, listenOn, clips string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Everything on one machine with four simulated cameras, nothing to configure",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), demoOptions{data, listenOn, clips}, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&data, "data", dataDir(), "data folder; the demo uses its folder demo, models are in its folder models")
	f.StringVar(&listenOn, "listen", "127.0.0.1:8080", "address of the API")
	f.StringVar(&clips, "clips", "", "folder of clips to use as cameras, up to four of them")
	return cmd
}

// demoPassword of the simulated cameras has the signs that careless parsers of
// addresses break at. Nothing but this machine can reach the cameras.
const demoPassword = "xa@An:Thanh#1%" //nolint:gosec // not a secret, see above

type demoOptions struct{ data, listen, clips string }

// demoCamera is a simulated camera: a clip and what is watched for in it.
type demoCamera struct {
	file string // of the clip
	yaml string
}

// demoCameras are for real clips beside the checkout.
func demoCameras() []demoCamera {
	return []demoCamera{
		{"one-by-one-person-detection.mp4", `
camera: tru-so-ubnd
name: Trụ sở UBND xã An Thạnh
hamlet: an-thuong
location: {lat: 9.6905, lon: 106.1602, bearing: 120, fov: 70}
zones: {sanh: {area: [[0.3,0.1],[0.98,0.1],[0.98,0.98],[0.3,0.98]]}}
lines: {cua-vao: {from: [0.32,1], to: [0.32,0]}}
rules:
  - {name: dem-nguoi, kind: line_crossing, line: cua-vao, direction: any, classes: [person], severity: info}
  - {name: nguoi-trong-sanh, kind: intrusion, zone: sanh, classes: [person], severity: medium}
`},
		{"highway_27260.mp4", `
camera: duong-tinh-933b
name: Đường tỉnh 933B
hamlet: an-thuong
location: {lat: 9.6955, lon: 106.1533, bearing: 30, fov: 60}
lines: {vach-dem: {from: [0.02,0.6], to: [0.98,0.6]}}
rules:
  - {name: dem-xe, kind: line_crossing, line: vach-dem, direction: any, classes: [car, truck, bus, motorcycle], severity: info}
`},
		{"vn_bridge.mp4", `
camera: cau-an-thanh
name: Cầu An Thạnh
hamlet: an-phu
location: {lat: 9.6871, lon: 106.1664, bearing: 210, fov: 60}
lines: {giua-cau: {from: [0.02,0.6], to: [0.98,0.6]}}
rules:
  - {name: dem-xe-may, kind: line_crossing, line: giua-cau, direction: any, classes: [motorcycle, car, bus, truck], severity: info}
`},
		{"retail_hevc_1080p.mp4", `
camera: cho-an-thanh
name: Chợ An Thạnh
hamlet: an-thuong
location: {lat: 9.6899, lon: 106.1611, bearing: 90, fov: 80}
zones: {sap-hang: {area: [[0.02,0.3],[0.98,0.3],[0.98,0.98],[0.02,0.98]]}}
rules:
  - {name: nguoi-trong-cho, kind: intrusion, zone: sap-hang, classes: [person], severity: medium, after: 2}
`},
	}
}

// generalCamera watches any clip: a line and a zone across the middle.
func generalCamera(c clip, n int) demoCamera {
	return demoCamera{c.path, fmt.Sprintf(`
camera: %q
name: Camera %d
zones: {giua: {area: [[0.1,0.3],[0.9,0.3],[0.9,0.98],[0.1,0.98]]}}
lines: {vach: {from: [0,0.6], to: [1,0.6]}}
rules:
  - {name: vao-vung, kind: intrusion, zone: giua, severity: medium}
  - {name: qua-vach, kind: line_crossing, line: vach, direction: any, severity: info}
`, c.name, n)}
}

// chooseClips returns the four cameras of the demo and the clips they show.
func chooseClips(o demoOptions, w io.Writer) ([]demoCamera, []clip, error) {
	dir := o.clips
	if dir == "" && isDir(filepath.Join(sharedAssets, "clips")) {
		known := demoCameras()
		var clips []clip
		for i := range known {
			path := filepath.Join(sharedAssets, "clips", known[i].file)
			if servable(path) != nil {
				clips = nil
				break
			}
			clips = append(clips, clip{slug(known[i].file), path})
		}
		if clips != nil {
			return known, clips, nil
		}
	}
	if dir == "" {
		fmt.Fprintln(w, "There are no real clips here, so four short ones are drawn. A detector trained on photographs sees little in\n"+
			"drawings: events may be few. Use your own recordings with: xacam demo --clips FOLDER")
		dir = filepath.Join(o.data, "demo", "clips")
		if _, err := renderClips(dir, 4); err != nil {
			return nil, nil, err
		}
	}
	clips, skipped, err := findClips(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range skipped {
		fmt.Fprintln(w, "skipped "+s)
	}
	clips = clips[:min(4, len(clips))]
	var cams []demoCamera
	for i, c := range clips {
		cams = append(cams, generalCamera(c, i+1))
	}
	return cams, clips, nil
}

func demo(ctx context.Context, o demoOptions, stdout, stderr io.Writer) error {
	avdec.QuietLog()
	cfg := defaultConfig()
	cfg.Listen, cfg.Data, cfg.Log.Level = o.listen, filepath.Join(o.data, "demo"), "warn"
	cfg.models = modelDir(o.data)
	if err := errors.Join(cfg.validate(), api.LoopbackOnly(cfg.Listen)); err != nil {
		return &usageError{err}
	}
	for _, dir := range []string{o.data, filepath.Join(o.data, "demo")} {
		if err := makeDataDir(dir); err != nil {
			return err
		}
	}
	cams, clips, err := chooseClips(o, stdout)
	if err != nil {
		return err
	}
	cat, err := openCatalogue(o.data)
	if err != nil {
		return usagef("models: %w", err)
	}
	if err := cat.Verify(models.Default); errors.Is(err, models.ErrMissing) {
		if err := pullModel(ctx, cat, models.Default, stderr); err != nil {
			fmt.Fprintf(stdout, "The detector %s could not be fetched, so cameras run without detection and only their loss makes events.\n"+
				"  why: %v\n  then: put the file into %s, or set XACAM_MODEL_MIRROR to a folder that has it. A running demo notices it.\n",
				models.Default, err, modelDir(o.data))
		}
	}
	srv, err := newServer(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	camSim, err := newSim(freeAddress(ctx, "127.0.0.1:8554"), "demo", demoPassword, clips)
	if err != nil {
		return err
	}
	province, err := newReceiver(ctx)
	if err != nil {
		return err
	}
	srv.app.Add("simulated cameras", stageStore, camSim.Run)
	srv.app.Add("receiver", stageStore, province.Run)
	srv.app.Add("demo set-up", stageServe, func(ctx context.Context) error {
		if err := setUpDemo(ctx, srv, camSim, cams, clips); err != nil {
			return err
		}
		if ctx.Err() == nil {
			if err := connectReceiver(ctx, srv, province); err != nil {
				return err
			}
			announce(stdout, srv.listener.Addr(), province.listener.Addr(), cams)
		}
		<-ctx.Done()
		return nil
	})
	return srv.Run(ctx)
}

// freeAddress returns an address, or any port of the machine where that is
// taken. The same at every start keeps the cameras and the endpoint that the
// last demo has stored right.
func freeAddress(ctx context.Context, addr string) string {
	l, err := listen(ctx, addr)
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		return "127.0.0.1:0"
	}
	return addr
}

// setUpDemo stores the cameras once the database and the simulator are there.
func setUpDemo(ctx context.Context, srv *server, camSim *sim.Server, cams []demoCamera, clips []clip) error {
	for _, ready := range []<-chan struct{}{srv.db.Ready(), camSim.Ready()} {
		select {
		case <-ready:
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Minute):
			return errors.New("the private database or the simulated cameras did not start within 2 minutes; see the messages above")
		}
	}
	files, err := demoFiles(camSim, cams, clips)
	if err != nil {
		return err
	}
	inputs := make([]pgstore.CameraInput, len(files))
	for i, f := range files {
		if inputs[i], err = cameraInput(f); err != nil {
			return err
		}
	}
	if err := forgetDemoCameras(ctx, srv.store, inputs); err != nil {
		return err
	}
	_, err = srv.store.PutCameras(ctx, inputs)
	return err
}

// forgetDemoCameras deletes what an earlier demo with other clips has left. What
// a person added stays.
func forgetDemoCameras(ctx context.Context, store *pgstore.Store, now []pgstore.CameraInput) error {
	list, err := store.Cameras(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		c := &list[i]
		kept := slices.ContainsFunc(now, func(in pgstore.CameraInput) bool { return in.Slug == c.Slug })
		if kept || !bytes.Contains(c.Spec, []byte("rtsp://demo:"+demoPassword+"@127.0.0.1:")) {
			continue
		}
		if err := store.DeleteCamera(ctx, c.Slug); err != nil && !errors.Is(err, events.ErrNotFound) {
			return err
		}
	}
	return nil
}

func demoFiles(camSim *sim.Server, cams []demoCamera, clips []clip) ([]camera.File, error) {
	var files []camera.File
	for i, c := range cams {
		parsed, err := camera.Parse([]byte(c.yaml))
		if err != nil {
			return nil, fmt.Errorf("demo camera %d: %w", i+1, err)
		}
		f := parsed[0]
		// Written literally, as people do.
		f.URL = camera.NewSecret(fmt.Sprintf("rtsp://demo:%s@%s/%s", demoPassword, camSim.Addr(), clips[i].name))
		files = append(files, f)
	}
	return files, camera.ValidateAll(files)
}

func announce(w io.Writer, addr, receiver net.Addr, cams []demoCamera) {
	base := "http://" + addr.String()
	fmt.Fprintf(w, `
xacam is running with %d simulated cameras. Look at
  %s/api/v1/events          the latest events
  %s/api/v1/events/stream   events as they come (curl -N)
  %s/api/v1/cameras         the cameras and how they are
  %s/api/v1/endpoints       where events are sent, %s/api/v1/attempts what was answered
  http://%s/                  what the receiver of the demo got, signatures verified
  %s/metrics                figures for Prometheus
It answers on this machine only. Stop it with Ctrl-C.
`, len(cams), base, base, base, base, base, receiver, base)
}
