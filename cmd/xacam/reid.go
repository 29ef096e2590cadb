package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/ration"
	"github.com/xacam/xacam/vision/reid"
	"github.com/xacam/xacam/vision/second"
)

// reidShare is what all cameras together may spend on finding tracks again, of
// each core: a twentieth.
const reidShare = 50 * time.Millisecond

// reids gives cameras what finds lost tracks again.
type reids interface {
	// Reid returns the enricher of one camera, with the named model.
	Reid(camera, model string) (pipeline.Enricher, error)
}

// reidState is the part of detectors about finding tracks again.
type reidState struct {
	embedders map[string]*second.Embedder // by the name of the model
	metrics   *reid.Metrics
	budget    *ration.Budget
}

// Reid implements reids: the model is loaded when the first camera wants it. The
// budget of all cameras is for a server's; a recording has none, so that it gives
// the same twice.
func (d *detectors) Reid(camera, model string) (pipeline.Enricher, error) {
	e, err := d.keeper(camera, model)
	if err != nil {
		return nil, err // not a typed nil
	}
	return e, nil
}

func (d *detectors) keeper(camera, model string) (*reid.Keeper, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.embedder(model)
	if err != nil {
		return nil, err
	}
	r := &d.reid
	if d.registry != nil && r.metrics == nil {
		r.metrics = reid.NewMetrics(d.registry)
		r.budget = ration.NewBudget(reidShare*time.Duration(runtime.NumCPU()), time.Now)
	}
	return reid.New(reid.Config{Camera: camera, Embedder: e, Budget: r.budget, Metrics: r.metrics})
}

// embedder returns the model of the family embedding. d.mu is held.
func (d *detectors) embedder(name string) (*second.Embedder, error) {
	if e, ok := d.reid.embedders[name]; ok {
		return e, nil
	}
	m, err := d.catalogue.Lookup(name)
	if err != nil {
		return nil, unknownIsUsage(err)
	}
	if err := d.initRuntime(); err != nil {
		return nil, err
	}
	e, err := second.NewEmbedder(d.runtime, second.ModelConfig{Manifest: m, Path: d.catalogue.Path(m), Workers: max(d.workers, 1)})
	if err != nil {
		return nil, fmt.Errorf("load model %s: %w", name, err)
	}
	if d.reid.embedders == nil {
		d.reid.embedders = make(map[string]*second.Embedder)
	}
	d.reid.embedders[name] = e
	return e, nil
}

// close frees the models.
func (r *reidState) close() error {
	var errs []error
	for _, e := range r.embedders {
		errs = append(errs, e.Close())
	}
	r.embedders = nil
	return errors.Join(errs...)
}

// errNoReid is for cameras that are analysed without models.
var errNoReid = errors.New("there is nothing that finds tracks again here")

// reidEnricher returns what finds the camera's lost tracks again.
func (p *plan) reidEnricher() (pipeline.Enricher, error) {
	if p.reid == nil {
		return nil, errNoReid
	}
	return p.reid.Reid(p.slug, p.file.Detect.Reid)
}

// amiss stands for an enricher that cannot be had, and says so at every look.
type amiss struct{ err error }

// Enrich implements pipeline.Enricher.
func (a amiss) Enrich(context.Context, *media.Frame, *vision.Scene) error { return a.err }
