package detect

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/prep"
)

// ImageDetection is one object in one picture, in the form that COCO's tools
// read.
type ImageDetection struct {
	FileName string     `json:"file_name"` // without its folder
	Category string     `json:"category"`
	Box      [4]float64 `json:"bbox"` // left, top, width, height in pixels of the upright picture
	Score    float64    `json:"score"`
}

// Images detects in picture files with every worker of det and writes one JSON
// array to w, a detection a line, in the order of the paths and best first
// within a picture. progress, if not nil, is called with the number of
// finished pictures, from one goroutine at a time. The first picture that
// cannot be read ends it with an error that names it.
func Images(ctx context.Context, det *Detector, paths []string, w io.Writer, progress func(done int)) error {
	results := make([][]ImageDetection, len(paths))
	finished := make(chan struct{}, len(paths))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(det.cfg.Workers + 1) // one loads while the others infer
	go func() {
		defer close(finished)
		for i, path := range paths {
			g.Go(func() error {
				var err error
				results[i], err = image(ctx, det, path)
				finished <- struct{}{}
				return err
			})
		}
		_ = g.Wait() // reported below
	}()
	done := 0
	for range finished {
		if done++; progress != nil {
			progress(done)
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return writeJSON(w, results)
}

func image(ctx context.Context, det *Detector, path string) ([]ImageDetection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	img, err := prep.Load(path)
	if err != nil {
		return nil, err
	}
	defer img.Release()
	dets, err := det.Detect(ctx, &media.Frame{Seq: 1, Picture: img})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	width, height := img.Size()
	return pixels(filepath.Base(path), dets, width, height), nil
}

// pixels converts normalised detections, rounded to a hundredth of a pixel.
func pixels(name string, dets []vision.Detection, width, height int) []ImageDetection {
	round := func(v float64) float64 { return math.Round(v*100) / 100 }
	out := make([]ImageDetection, 0, len(dets))
	for _, d := range dets {
		x0, y0 := d.Box.Min.X*float64(width), d.Box.Min.Y*float64(height)
		x1, y1 := d.Box.Max.X*float64(width), d.Box.Max.Y*float64(height)
		out = append(out, ImageDetection{
			FileName: name, Category: d.Label,
			Box:   [4]float64{round(x0), round(y0), round(x1 - x0), round(y1 - y0)},
			Score: math.Round(d.Score*1e5) / 1e5,
		})
	}
	return out
}

func writeJSON(w io.Writer, results [][]ImageDetection) error {
	b := bufio.NewWriter(w)
	sep := "[\n"
	for _, r := range results {
		for _, d := range r {
			line, err := json.Marshal(d)
			if err != nil {
				return fmt.Errorf("write detections: %w", err)
			}
			_, _ = b.WriteString(sep) // Flush reports it
			_, _ = b.Write(line)
			sep = ",\n"
		}
	}
	end := "\n]\n"
	if sep == "[\n" {
		end = "[]\n"
	}
	_, _ = b.WriteString(end)
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write detections: %w", err)
	}
	return nil
}
