package main

import (
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/detect"
	"github.com/xacam/xacam/vision/ort"
)

// checkoutRuntime is where a checkout keeps the ONNX Runtime library, beside
// the system's own places.
const checkoutRuntime = ".cache/ort"

// detectors loads each model once, when the first camera wants it, and shares
// it between all cameras. It is safe for concurrent use.
type detectors struct {
	catalogue *models.Catalogue
	library   string                // path of libonnxruntime.so, "" searches
	folders   []string              // where else to search
	registry  prometheus.Registerer // may be nil
	workers   int                   // 0 is one a core
	minScore  float64               // 0 is what a tracker wants
	whole     bool                  // the model's own input size, as others compute it

	mu      sync.Mutex
	runtime *ort.Runtime
	loaded  map[string]*detect.Detector
	helmet  helmetState
	reid    reidState
}

// Detector returns the detector of a model. The error says what to do.
func (d *detectors) Detector(name string) (vision.Detector, error) {
	det, err := d.get(name)
	if err != nil {
		return nil, err // not a typed nil
	}
	return det, nil
}

func (d *detectors) get(name string) (*detect.Detector, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if det, ok := d.loaded[name]; ok {
		return det, nil
	}
	m, err := d.catalogue.Lookup(name)
	if err != nil {
		return nil, unknownIsUsage(err)
	}
	if err := d.catalogue.Verify(name); err != nil {
		return nil, err
	}
	if err := d.initRuntime(); err != nil {
		return nil, err
	}
	det, err := detect.New(d.runtime, detect.Config{
		Manifest: m, Path: d.catalogue.Path(m), Workers: d.workers, MinScore: d.minScore, Whole: d.whole, Metrics: d.registry,
	})
	if err != nil {
		return nil, fmt.Errorf("load model %s: %w", name, err)
	}
	if d.loaded == nil {
		d.loaded = make(map[string]*detect.Detector)
	}
	d.loaded[name] = det
	return det, nil
}

// initRuntime loads the ONNX Runtime library, once. d.mu is held.
func (d *detectors) initRuntime() error {
	if d.runtime != nil {
		return nil
	}
	path, err := ort.FindLibrary(d.library, append(d.folders, checkoutRuntime)...)
	if err != nil {
		return err
	}
	d.runtime, err = ort.Init(path)
	return err
}

// Close frees every model and the runtime. No detection may be in progress.
func (d *detectors) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for name, det := range d.loaded {
		errs = append(errs, det.Close())
		delete(d.loaded, name)
	}
	errs = append(errs, d.helmet.close(), d.reid.close())
	if d.runtime != nil {
		errs = append(errs, d.runtime.Close())
		d.runtime = nil
	}
	return errors.Join(errs...)
}

// localDetectors are those of a command that runs beside the server, or without
// one; their models are in the data folder.
func localDetectors(data string) (*detectors, error) {
	cat, err := openCatalogue(data)
	if err != nil {
		return nil, usagef("models: %w", err)
	}
	return &detectors{catalogue: cat, folders: []string{data}}, nil
}
