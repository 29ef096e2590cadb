package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/ration"
	"github.com/xacam/xacam/vision/second"
)

// helmetShare is what all cameras together may spend on looking at helmets, of
// each core: a tenth.
const helmetShare = 100 * time.Millisecond

// helmets gives cameras what looks at helmets.
type helmets interface {
	// Helmets returns the enricher of one camera.
	Helmets(camera string) (pipeline.Enricher, error)
}

// helmetState is the part of detectors about helmets.
type helmetState struct {
	classifier *second.Classifier // nil until the first camera wants it
	metrics    *second.Metrics
	budget     *ration.Budget
}

// Helmets implements helmets: the model, a part of the program, is loaded when
// the first camera wants it. The budget of all cameras is for a server's; a
// recording has none, so that it gives the same twice.
func (d *detectors) Helmets(camera string) (pipeline.Enricher, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.initRuntime(); err != nil {
		return nil, err
	}
	h := &d.helmet
	if h.classifier == nil {
		m, data, err := models.Helmet()
		if err != nil {
			return nil, err
		}
		h.classifier, err = second.NewClassifier(d.runtime, second.ModelConfig{Manifest: m, Data: data, Workers: max(d.workers, 1)})
		if err != nil {
			return nil, fmt.Errorf("load the helmet model: %w", err)
		}
		if d.registry != nil {
			h.metrics = second.NewMetrics(d.registry)
			h.budget = ration.NewBudget(helmetShare*time.Duration(runtime.NumCPU()), time.Now)
		}
	}
	return second.New(second.Config{
		Camera: camera, Name: "helmet", Looker: h.classifier, Wants: second.Motorcyclist, Budget: h.budget, Metrics: h.metrics,
	})
}

// close frees the model.
func (h *helmetState) close() error {
	if h.classifier == nil {
		return nil
	}
	err := h.classifier.Close()
	h.classifier = nil
	return err
}

// errNoHelmets is for cameras that are analysed without models.
var errNoHelmets = errors.New("there is nothing that looks at helmets here")

// helmetEnricher returns what looks at the helmets of the camera's riders.
func (p *plan) helmetEnricher() (pipeline.Enricher, error) {
	if p.helmets == nil {
		return nil, errNoHelmets
	}
	return p.helmets.Helmets(p.slug)
}
